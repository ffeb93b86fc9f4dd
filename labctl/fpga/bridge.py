"""The simulated core's serial line, as bytes of this machine: `Bridge` runs the simulation."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from labctl.errors import LabctlError, UsageError
from labctl.fpga.build import WAVES_FILE, build
from labctl.fpga.engines.base import Task, command, common_environment
from labctl.fpga.model import Core, Project, SerialPort, TestCase, Value, Variant
from labctl.fpga.selection import Job, Unit
from labctl.fpga.toolchain import Toolchain
from labctl.inventory.diagnostics import did_you_mean, quote
from labctl.report.sanitize import clean_line

_MODULE = "labctl_bridge"
_LOG = "log.txt"
_START_S = 60.0
_END_S = 3.0
_LOG_TAIL = 8192
# How exceptions of Python and errors of simulators are told.
_ERROR = re.compile(r"(?:Error|Failure|Exception): |^ERROR")


def bridged_core(project: Project, name: str) -> Core:
    """Return the core ``name`` of a project, which has a serial line.

    Raises:
        UsageError: There is no such core, or its file says nothing of a line.
    """
    cores = {core.name: core for core in project.cores}
    core = cores.get(name)
    if core is None:
        raise UsageError(
            f"there is no core {quote(name)}{did_you_mean(name, cores)}",
            action="'labctl fpga list' names them",
        )
    if core.serial is None:
        able = ", ".join(one.name for one in project.cores if one.serial) or "no core here has one"
        raise UsageError(
            "its core.yaml says nothing of a serial line",
            thing=name,
            action=f"add 'bridge:' to it, or take one that has: {able}",
        )
    return core


class Bridge:
    """A running simulation of a core, and a socket that is its serial line.

    Args:
        core: One with a serial line.
        tools: The simulator.
        folder: An empty folder for its log, and waves.
        baud: Bits a second that simulated time must not exceed; 0 for as fast as it goes.
        parameters: Laid over those that its file names.
        waves: Record waves.

    Attributes:
        channel: The line, not blocking.
        port: The line's ports and speed.

    Raises:
        BuildError: It does not compile.
        LabctlError: It does not start, or has no such ports.
    """

    def __init__(
        self, core: Core, tools: Toolchain, folder: Path, *, baud: int = 0,
        parameters: Mapping[str, Value] | None = None, waves: bool = False,
    ) -> None:  # fmt: skip
        assert core.serial is not None
        self.port: SerialPort = core.serial
        self.folder = folder
        variant = Variant("", {**self.port.parameters, **(parameters or {})})
        design = replace(core, top=self.port.top, sources=self.port.sources, serial=None)
        unit = Unit(design, variant, TestCase(_MODULE, "bridge", Path(_MODULE), 1))
        made = build(design, variant, tools)
        task = Task(Job(unit, 0), made, folder, waves)
        self.channel, theirs = socket.socketpair()
        ready, tells_ready = os.pipe()
        settings = {
            "channel": theirs.fileno(),
            "ready": tells_ready,
            "baud": baud,
            "clock": self.port.clock,
            "reset": self.port.reset,
            "rxd": self.port.rxd,
            "txd": self.port.txd,
            "bit_cycles": self.port.bit_cycles,
            "drive": dict(self.port.drive),
        }
        try:
            with (folder / _LOG).open("wb") as log:
                self._process = subprocess.Popen(
                    command(task, tools),
                    cwd=folder,
                    env={**common_environment(unit, tools), "LABCTL_BRIDGE": json.dumps(settings)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs.fileno(), tells_ready),
                    start_new_session=True,
                )
        finally:
            theirs.close()
            os.close(tells_ready)
        self.channel.setblocking(False)
        try:
            self._wait_ready(core.name, ready)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(ready)

    @property
    def waves(self) -> Path | None:
        """The waves, once it is closed, if they were recorded."""
        path = self.folder / WAVES_FILE
        return path if path.is_file() else None

    def _wait_ready(self, name: str, ready: int) -> None:
        deadline = time.monotonic() + _START_S
        poll = select.poll()
        poll.register(ready, select.POLLIN)
        # The pipe ends when the simulation does.
        while not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            if time.monotonic() >= deadline:
                raise LabctlError(f"the simulation did not start in {_START_S:.0f} s", thing=name)
        if not os.read(ready, 1):
            raise LabctlError(self.why_ended(), thing=name, action=f"see {self.folder / _LOG}")

    def why_ended(self) -> str:
        """Return what its log says last of an error, in one line."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        with (self.folder / _LOG).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL))
            lines = [clean_line(line).strip() for line in log.read().splitlines()]
        errors = [line for line in lines if _ERROR.search(line)]
        # The table at the end, in asterisks, tells nothing.
        told = errors or [line for line in lines if line and "**" not in line]
        said = told[-1] if told else ""
        return f"the simulation has ended: {said}" if said else "the simulation has ended"

    def close(self) -> None:
        """End the simulation; nothing of it is left."""
        # It ends by itself when the line does, and then writes its waves.
        self.channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Bridge:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
