"""How the running virtual lab tells the rest of labctl where its machines are.

The virtual lab writes one small file for each machine it runs; the inventory loader reads them.
So no other room knows the virtual lab, and it knows no other room. A lab belongs to one inventory
file and one user: two clones, or two users, never see each other's machines.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from labctl.fileio import write_atomic
from labctl.paths import make_private, state_dir


@dataclass(frozen=True)
class Endpoint:
    """Where a virtual machine can be reached now.

    Attributes:
        name: Name of the machine, as in the inventory (fleet boxes are only here).
        kind: ``box`` (QEMU) or ``fleet`` (namespaces).
        address: Loopback address of its sshd.
        port: TCP port of its sshd.
        user: Login user of a new machine (root).
        password: Its throw-away password, random for each machine; None where a key is used.
        host_keys: Its public host keys, ``type base64``.
        identity_file: Private key that it accepts from the start, or None.
    """

    name: str
    kind: str
    address: str
    port: int
    user: str
    password: str | None = field(default=None, repr=False)
    host_keys: tuple[str, ...] = ()
    identity_file: str | None = None


def lab_dir(inventory: Path) -> Path:
    """Return the state folder of the lab that belongs to the inventory file ``inventory``."""
    key = f"{os.getuid()}:{inventory.resolve()}"
    return state_dir() / "labs" / hashlib.sha256(key.encode()).hexdigest()[:12]


def publish(inventory: Path, endpoint: Endpoint) -> None:
    """Make ``endpoint`` known; the file is readable by its owner only (it holds the password)."""
    folder = make_private(lab_dir(inventory) / "endpoints")
    write_atomic(folder / f"{endpoint.name}.json", json.dumps(asdict(endpoint)), mode=0o600)


def withdraw(inventory: Path, name: str) -> None:
    """Forget the machine ``name``; nothing happens if it is not known."""
    (lab_dir(inventory) / "endpoints" / f"{name}.json").unlink(missing_ok=True)


def read_endpoints(inventory: Path) -> dict[str, Endpoint]:
    """Return the machines of the running lab by name; files that are not ours are passed over."""
    found = {}
    folder = lab_dir(inventory) / "endpoints"
    if not folder.is_dir():
        return {}
    for path in sorted(folder.glob("*.json")):
        try:
            data = json.loads(path.read_text())
            data["host_keys"] = tuple(data["host_keys"])
            found[data["name"]] = Endpoint(**data)
        except (ValueError, KeyError, TypeError, OSError):
            continue
    return found
