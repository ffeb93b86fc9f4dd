"""One virtual AVR board: the simulator, started and found again as QEMU is.

Its line is a pseudo-terminal, made known by a link in the board's folder. It speaks the part of
QEMU's machine protocol that power needs. A pseudo-terminal has no DTR; what resets a real board is
that opening a port asserts it, so opening the line resets this one.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from labctl import procs
from labctl.errors import LabctlError
from labctl.report.sanitize import clean_line
from labctl.vlab import board
from labctl.vlab.avr.build import Built, build
from labctl.vlab.avr.parts import AvrModel
from labctl.vlab.state import Machine, MachineRecord

_START_S = 20.0


def line_link(folder: Path) -> Path:
    """Return the link to the tty of the line of the board in ``folder``."""
    return folder / "console"


def monitor(folder: Path) -> Path:
    """Return the UNIX socket of the machine protocol of the board in ``folder``."""
    return folder / "qmp.sock"


def flash_file(folder: Path) -> Path:
    """Return the file that is the flash of the board in ``folder``."""
    return folder / "flash.bin"


def command_line(name: str, pidfile: Path, model: AvrModel, built: Built) -> list[str]:
    """Return the command that runs the board; it is started in the board's folder."""
    return [
        str(built.simulator), name, str(pidfile), model.part, str(model.hz),
        hex(model.loader.address), str(int(model.reset_on_open)),
    ]  # fmt: skip


def start(machine: Machine, model: AvrModel) -> MachineRecord:
    """Start a new board, without power yet; the caller holds the machine's lock.

    Raises:
        LabctlError: It cannot be made, or did not start; the message is its own.
    """
    machine.remove()
    record = MachineRecord(
        name=machine.name, kind=board.KIND, image="", address="", port=0, accel="none",
        line=str(line_link(machine.folder)),
    )  # fmt: skip
    machine.write(record)
    try:
        built = build(model)
        started = launch(machine.folder, machine.name, machine.pidfile, model, built)
    except LabctlError:
        machine.remove()
        raise
    return machine.update(record, process=procs.identify(started.pid), ready=True)


def launch(
    folder: Path, name: str, pidfile: Path, model: AvrModel, built: Built
) -> subprocess.Popen[bytes]:
    """Start the board in ``folder``, without power yet; a flash that is there is kept.

    Raises:
        LabctlError: It did not start; the message is its own.
    """
    if not flash_file(folder).exists():
        shutil.copyfile(built.flash, flash_file(folder))
    # What a board that was killed left behind would be taken for a sign that this one is ready.
    monitor(folder).unlink(missing_ok=True)
    errors = folder / "simulator.err"
    with errors.open("wb") as log:
        # It outlives us on purpose.
        started = subprocess.Popen(
            command_line(name, pidfile, model, built), stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, cwd=folder, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + _START_S
    while not monitor(folder).exists():
        if started.poll() is not None:
            said = clean_line(errors.read_bytes()[-1000:]).removeprefix("labctl: ")
            raise LabctlError(said or f"exit {started.returncode}", thing=name)
        if time.monotonic() > deadline:
            started.kill()
            started.wait()
            raise LabctlError(f"not ready after {_START_S:.0f} s", thing=name)
        time.sleep(0.01)
    return started
