"""One scripted board: the program `labctl.vlab.scripted`, started and found again as QEMU is.

Its line is a pseudo-terminal whose name changes when it is "replugged", so the line that is made
known is a link in the board's folder. It speaks the same machine protocol as QEMU.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from labctl import procs
from labctl.errors import LabctlError
from labctl.report.sanitize import clean_line
from labctl.vlab import board
from labctl.vlab.board_model import ScriptedModel
from labctl.vlab.programs import tool_environment
from labctl.vlab.state import Machine, MachineRecord

_START_S = 20.0


def line_link(machine: Machine) -> Path:
    """Return the link to the tty of the board's line."""
    return machine.folder / "console"


def command_line(machine: Machine, model: ScriptedModel) -> list[str]:
    """Return the command that runs the board."""
    return [
        sys.executable, "-m", "labctl.vlab.scripted",
        "--folder", str(machine.folder), "--name", machine.name,
        "--pidfile", str(machine.pidfile), "--settings", json.dumps(dict(model.settings)),
    ]  # fmt: skip


def start(machine: Machine, model: ScriptedModel) -> MachineRecord:
    """Start a new board, without power yet; the caller holds the machine's lock.

    Raises:
        LabctlError: It did not start; the message is its own.
    """
    machine.remove()
    record = MachineRecord(
        name=machine.name, kind=board.KIND, image="", address="", port=0, accel="none",
        line=str(line_link(machine)),
    )  # fmt: skip
    machine.write(record)
    try:
        with machine.console_log.open("wb") as log:
            # It outlives us on purpose; `Machine.find_process` knows it by its pid file's path.
            started = subprocess.Popen(
                command_line(machine, model), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=machine.folder, env=tool_environment(), start_new_session=True,
            )  # fmt: skip
        _wait_ready(machine, started)
    except LabctlError:
        machine.remove()
        raise
    return machine.update(record, process=procs.identify(started.pid), ready=True)


def _wait_ready(machine: Machine, started: subprocess.Popen[bytes]) -> None:
    """Wait for its monitor, which it opens when all the rest is there."""
    deadline = time.monotonic() + _START_S
    while not machine.qmp.exists():
        if started.poll() is not None:
            said = clean_line(machine.console_log.read_bytes()[-1000:])
            cause = said.removeprefix("labctl: ") or f"exit {started.returncode}"
            raise LabctlError(cause, thing=machine.name)
        if time.monotonic() > deadline:
            started.kill()
            started.wait()
            raise LabctlError(f"not ready after {_START_S:.0f} s", thing=machine.name)
        time.sleep(0.01)
