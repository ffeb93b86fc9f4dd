"""A virtual board that is a program of ours: started and found again as QEMU is.

It speaks the same machine protocol as QEMU.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence

from labctl import procs
from labctl.errors import LabctlError
from labctl.report.sanitize import clean_line
from labctl.vlab import board
from labctl.vlab.programs import tool_environment
from labctl.vlab.state import Machine, MachineRecord

_START_S = 20.0


def start(machine: Machine, command: Sequence[str], line: Callable[[], str]) -> MachineRecord:
    """Start a new board, without power yet; the caller holds the machine's lock.

    Args:
        machine: Which one.
        command: What runs it; it makes the machine's monitor when all the rest is there.
        line: Returns the URL of its line, once it runs.

    Raises:
        LabctlError: It did not start; the message is its own.
    """
    machine.remove()
    record = MachineRecord(
        name=machine.name, kind=board.KIND, image="", address="", port=0, accel="none",
    )  # fmt: skip
    machine.write(record)
    try:
        with machine.console_log.open("wb") as log:
            # It outlives us on purpose; `Machine.find_process` knows it by its pid file's path.
            started = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=machine.folder, env=tool_environment(), start_new_session=True,
            )  # fmt: skip
        _wait_ready(machine, started)
    except LabctlError:
        machine.remove()
        raise
    return machine.update(record, process=procs.identify(started.pid), ready=True, line=line())


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
