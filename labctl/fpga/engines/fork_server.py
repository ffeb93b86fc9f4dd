"""One simulator that serves many jobs: it starts once, then makes a copy of itself for each.

The other side is `labctl.fpga.inside.labctl_inside`. Where it cannot (threads after the import of
the tests, tests that do not import), each job has a simulator of its own, and that is told.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import threading
import time
from dataclasses import replace
from typing import Any

from labctl.fpga.engines.base import Ended, Task, command, common_environment
from labctl.fpga.engines.base import job_environment as own
from labctl.fpga.engines.process import ProcessEngine
from labctl.fpga.engines.watch import LOG_FILE, START_S, Cancelled, watch
from labctl.fpga.inside import labctl_checkpoints
from labctl.fpga.inside.labctl_inside import QUICK_VARIABLE
from labctl.fpga.simulators.icarus import records_later
from labctl.fpga.toolchain import Toolchain

_ANSWER_S = 20.0


class _Lost(Exception):  # noqa: N818 - answered here: the job runs in a process of its own
    """The server cannot serve; the message says why."""


class ForkEngine:
    """Runs jobs of one build and one module in copies of one simulator.

    Args:
        tools: The simulator.
        cancel: Set when nobody wants the jobs any more.
    """

    def __init__(self, tools: Toolchain, cancel: threading.Event) -> None:
        self._tools = tools
        self._cancel = cancel
        self._server: _Server | None = None
        self._alone = ProcessEngine(tools, cancel)
        # What cannot be served, and why.
        self._refused: dict[tuple[str, ...], str] = {}

    def run(self, task: Task) -> Ended:
        """Run ``task``; see `labctl.fpga.engines.base.Engine`."""
        if not self._tools.of(task.job.unit.core).forks:
            title = self._tools.of(task.job.unit.core).title
            note = f"{title} cannot copy itself: each run has a simulator of its own"
            return replace(self._alone.run(task), note=note)
        key = (task.job.unit.core.name, task.build.key, task.job.unit.test.module, str(task.waves))
        why = self._refused.get(key)
        if why is None:
            try:
                return self._served(key, task)
            except _Lost as lost:
                self.close()
                self._refused[key] = why = str(lost)
        ended = self._alone.run(task)
        module = task.job.unit.test.module
        note = f"{module}: each run has a simulator of its own, for {why}" if why else ""
        return replace(ended, note=note)

    def _served(self, key: tuple[str, ...], task: Task) -> Ended:
        if self._server is None or self._server.key != key:
            self.close()
            self._server = _Server(key, task, self._tools, self._cancel)
        return self._server.run(task)

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.close()
            self._server = None


class _Server:
    """A simulator that waits at time zero, with all imported."""

    def __init__(
        self, key: tuple[str, ...], task: Task, tools: Toolchain, cancel: threading.Event
    ) -> None:
        self.key = key
        self._cancel = cancel
        self._rest = b""
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        settings = {"LABCTL_REQUESTS": str(requests), "LABCTL_REPLIES": str(replies)}
        words = command(task, tools)
        self._can_record = "-none" in words and records_later(task.build.path)
        if self._can_record:
            # A copy can begin to record at any time; until then it costs nothing.
            words[words.index("-none")] = "-fst"
        try:
            self._process = subprocess.Popen(
                words,
                cwd=task.folder,
                env={**common_environment(task.job.unit, tools), **settings},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(requests, replies),
                start_new_session=True,
            )
        finally:
            os.close(requests)
            os.close(replies)
        try:
            ready = self._reply(START_S)
            if "ready" not in ready:
                raise _Lost(str(ready.get("refused", "it answers nonsense")))
        except BaseException:
            self.close()
            raise

    def run(self, task: Task) -> Ended:
        began = time.monotonic()
        order: dict[str, Any] = {
            "folder": str(task.folder.absolute()),
            "log": LOG_FILE,
            "environment": dict(own(task.job)),
        }
        if self._can_record:
            order["environment"][QUICK_VARIABLE] = "1"
        if task.last is not None and self._can_record:
            limit_s = task.job.unit.core.timeout_s
            last = task.last
            wanted = {"every_s": last.every_s, "limit_s": limit_s, "worth_ns": last.worth_ns}
            order["environment"][labctl_checkpoints.VARIABLE] = json.dumps(wanted)
        try:
            os.write(self._requests, json.dumps(order).encode() + b"\n")
        except BrokenPipeError:
            raise _Lost("the server has gone") from None
        pid = int(self._reply(_ANSWER_S)["started"])
        # A reply that is there already would not make the pipe readable.
        hang = None
        if b"\n" not in self._rest:
            hang = watch(
                self._replies, pid, task.folder, task.job.unit.core.timeout_s, self._cancel
            )
        reply = self._reply(_ANSWER_S)
        return Ended(int(reply["ended"]), time.monotonic() - began, hang)

    def _reply(self, seconds: float) -> dict[str, Any]:
        """Return the next answer.

        Raises:
            _Lost: None came in time, or the server has gone.
        """
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._replies, select.POLLIN)
        while b"\n" not in self._rest:
            if self._cancel.is_set():
                raise Cancelled
            left = deadline - time.monotonic()
            if left <= 0:
                raise _Lost("the server did not answer")
            if poll.poll(min(left, 0.5) * 1000):
                data = os.read(self._replies, 65536)
                if not data:
                    raise _Lost("the server has gone")
                self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it: it ends by itself when nobody can ask it any more."""
        os.close(self._requests)
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._replies)
