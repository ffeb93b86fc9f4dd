"""What the lab remembers of each machine, and how it finds the machine's process again.

A folder ``machines/NAME`` exists from before a machine is started until after it has gone, so
whatever kills labctl, the next command finds what there is. The process is known by id, start
time and boot; where labctl died before it could write those down, by its command line, which
holds the path of that folder.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from labctl import procs
from labctl.errors import UsageError
from labctl.fileio import write_atomic
from labctl.inventory.endpoints import lab_dir
from labctl.paths import make_private, state_dir
from labctl.procs import ProcessId

# A host name label, RFC 1123 section 2.1; it becomes the host name of the machine.
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_RECORD = "machine.json"


@dataclass(frozen=True)
class MachineRecord:
    """One machine of the lab.

    Attributes:
        name: Its name.
        kind: ``box`` or ``board`` (QEMU), or ``fleet`` (namespaces).
        image: Key of the image that it stands on.
        address: Loopback address of its sshd.
        port: TCP port of its sshd.
        accel: ``kvm``, ``tcg``, or ``none`` for a fleet box.
        password: Root's password, or None.
        host_keys: Public host keys, ``type base64``.
        identity_file: Private key that it accepts, or None.
        line: URL of a board's serial line; empty for other machines.
        cards: Scenario of its simulated cards; empty for none.
        ready: Its sshd has answered; a board can be reached.
        process: Its process; None until it is known.
    """

    name: str
    kind: str
    image: str
    address: str
    port: int
    accel: str
    password: str | None = field(default=None, repr=False)
    host_keys: tuple[str, ...] = ()
    identity_file: str | None = None
    line: str = ""
    cards: str = ""
    ready: bool = False
    process: ProcessId | None = None


class Machine:
    """The folder of one machine of one lab.

    Args:
        inventory: The inventory file that the lab belongs to.
        name: Name of the machine.

    Raises:
        UsageError: The name cannot be a host name.
    """

    def __init__(self, inventory: Path, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(
                "not a host name", thing=repr(name), action="use letters, digits and hyphens"
            )
        self.inventory = inventory
        self.name = name
        self.folder = lab_dir(inventory) / "machines" / name

    @property
    def lock(self) -> Path:
        """The lock that whoever starts or stops this machine holds."""
        return make_private(lab_dir(self.inventory) / "locks") / f"{self.name}.lock"

    @property
    def pidfile(self) -> Path:
        """Its path is an argument of the machine's process, and of no other."""
        return self.folder / "pid"

    @property
    def console(self) -> Path:
        """UNIX socket of the serial console."""
        return self.folder / "console.sock"

    @property
    def console_log(self) -> Path:
        """Everything that came from the serial console (for a fleet box: from its sshd)."""
        return self.folder / "console.log"

    @property
    def qmp(self) -> Path:
        """UNIX socket of QEMU's control protocol."""
        return self.folder / "qmp.sock"

    def read(self) -> MachineRecord | None:
        """Return the record; None where there is none or it cannot be read."""
        return _read(self.folder / _RECORD)

    def write(self, record: MachineRecord) -> None:
        """Write the record (owner only: it holds the password)."""
        make_private(self.folder)
        write_atomic(self.folder / _RECORD, json.dumps(asdict(record), indent=2))

    def update(self, record: MachineRecord, **changes: object) -> MachineRecord:
        """Write and return ``record`` with ``changes``."""
        new = replace(record, **changes)  # type: ignore[arg-type]
        self.write(new)
        return new

    def find_process(self) -> ProcessId | None:
        """Return the machine's running process, or None."""
        record = self.read()
        if record and record.process and procs.alive(record.process):
            return record.process
        strays = procs.find_by_word(str(self.pidfile))
        return strays[0] if strays else None

    def state(self) -> str:
        """Return ``up``, ``starting``, ``crashed`` (known, but not running) or ``down``."""
        if self.find_process():
            record = self.read()
            return "up" if record and record.ready else "starting"
        return "crashed" if self.folder.exists() else "down"

    def remove(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _read(path: Path) -> MachineRecord | None:
    try:
        data = json.loads(path.read_text())
        data["host_keys"] = tuple(data["host_keys"])
        data["process"] = ProcessId(**data["process"]) if data["process"] else None
        return MachineRecord(**data)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def machines(inventory: Path) -> list[Machine]:
    """Return the machines that the lab knows, running or crashed, in the order of their names."""
    folder = lab_dir(inventory) / "machines"
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir() if _NAME.fullmatch(path.name))
    return [Machine(inventory, name) for name in names]


def all_records() -> list[MachineRecord]:
    """Return the records of all labs of this user, whatever their inventory."""
    paths = state_dir().glob(f"labs/*/machines/*/{_RECORD}")
    return [record for path in paths if (record := _read(path))]
