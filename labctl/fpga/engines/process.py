"""One simulator for each job: works everywhere, and pays the start every time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time

from labctl.fpga.engines.base import Ended, Task, command, common_environment
from labctl.fpga.engines.base import job_environment as own
from labctl.fpga.engines.watch import LOG_FILE, watch
from labctl.fpga.toolchain import Toolchain


class ProcessEngine:
    """Runs each job in a simulator of its own.

    Args:
        tools: The simulator.
        cancel: Set when nobody wants the jobs any more.
    """

    def __init__(self, tools: Toolchain, cancel: threading.Event) -> None:
        self._tools = tools
        self._cancel = cancel

    def run(self, task: Task) -> Ended:
        """Run ``task``; see `labctl.fpga.engines.base.Engine`."""
        began = time.monotonic()
        unit = task.job.unit
        with (task.folder / LOG_FILE).open("wb") as log:
            process = subprocess.Popen(
                command(task, self._tools),
                cwd=task.folder,
                env={**common_environment(unit, self._tools), **own(task.job)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        ended = os.pidfd_open(process.pid)
        try:
            hang = watch(ended, process.pid, task.folder, unit.core.timeout_s, self._cancel)
        finally:
            os.close(ended)
            _sweep(process)
        return Ended(process.returncode, time.monotonic() - began, hang)

    def close(self) -> None:
        """Do nothing: no simulator outlives its job."""


def _sweep(process: subprocess.Popen[bytes]) -> None:
    """Take along what the simulation started; its id is ours until we wait for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
