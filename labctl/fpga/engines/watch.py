"""Watch a running simulation: its time, its output; end it in a way that leaves evidence."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from pathlib import Path

from labctl.fpga.engines import triage
from labctl.fpga.engines.triage import Hang
from labctl.fpga.inside.labctl_inside import STACK_FILE

# Bytes of log or waves of one job; more is a loop that prints, and would fill the disk.
MAX_LOG = 64 * 1024 * 1024
MAX_FOLDER = 2 * 1024 * 1024 * 1024
# What is kept of such a log.
_KEPT_LOG = 1024 * 1024
LOG_FILE = "log.txt"
# The start of simulator and Python is not the test's time; on a busy machine it takes seconds.
START_S = 60.0
_TICK_S = 0.5
# How long it may take to answer, to save its results, and to die.
_ANSWER_S, _SAVE_S, _DIE_S = 3.0, 4.0, 10.0
# So often it is asked: a test that awaits what takes no time is seen in its own lines now and then,
# one that loops each time. The pauses together are long enough for a slow test to take a step.
_QUESTIONS = 5
_BETWEEN_S = 0.15
# Verdicts of which a test can be freed by an error raised in it.
_IN_PYTHON = ("python", "delta")


class Cancelled(Exception):  # noqa: N818 - not an error: somebody wants to stop
    """The run was given up."""


def watch(
    ended: int, pid: int, folder: Path, limit_s: float, cancel: threading.Event
) -> Hang | None:
    """Wait until the descriptor ``ended`` is readable; end the process group ``pid`` if it must.

    Args:
        ended: Becomes readable when the simulation has ended.
        pid: Its process, leader of a group that is all its own.
        folder: Its working directory.
        limit_s: Wall-clock seconds that it may take once it has started.
        cancel: Set when nobody wants it any more.

    Returns:
        Why it was ended; None if it ended by itself.

    Raises:
        Cancelled: ``cancel`` was set; it has been ended.
    """
    stack = folder / STACK_FILE  # is there as soon as it has started
    deadline, started = time.monotonic() + START_S, False
    while not _readable(ended, min(_TICK_S, max(0.0, deadline - time.monotonic()))):
        if cancel.is_set():
            _kill(pid, signal.SIGKILL)
            _readable(ended, _DIE_S)
            raise Cancelled
        size = _size(folder)
        if size:
            _end(ended, pid)
            with contextlib.suppress(OSError):
                os.truncate(folder / LOG_FILE, _KEPT_LOG)
            return Hang("output", size)
        if not started and stack.exists():
            deadline, started = time.monotonic() + limit_s, True
        if time.monotonic() >= deadline:
            return _triage(ended, pid, folder, limit_s)
    return None


def _triage(ended: int, pid: int, folder: Path, limit_s: float) -> Hang | None:
    stack = folder / STACK_FILE
    for _ in range(_QUESTIONS):
        before = _read(stack)
        _kill(pid, signal.SIGUSR1)
        until = time.monotonic() + _ANSWER_S
        while not (answered := _answered(before, _read(stack))) and time.monotonic() < until:
            if _readable(ended, 0.05):
                return triage.verdict(_read(stack), _read(stack), limit_s)
        if not answered:
            break
        _readable(ended, _BETWEEN_S)
    told = _read(stack)
    if triage.verdict(told, told, limit_s).kind in _IN_PYTHON:
        # Only Python itself can leave its loop; then results and waves are saved as always.
        _kill(pid, signal.SIGUSR2)
        _readable(ended, _SAVE_S)
    _end(ended, pid)
    return triage.verdict(told, _read(stack), limit_s)


def _answered(before: str, now: str) -> bool:
    """Tell whether the handler in Python has answered; that in C is there at once, before it."""
    return now.count('\n{"time_ns"') + now.startswith('{"time_ns"') > before.count('{"time_ns"')


def _end(ended: int, pid: int) -> None:
    if _readable(ended, 0):
        return
    # The simulator writes results and waves when it is told to end; a loop in Python ignores it.
    _kill(pid, signal.SIGTERM)
    if not _readable(ended, _SAVE_S):
        _kill(pid, signal.SIGKILL)
        _readable(ended, _DIE_S)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _readable(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _size(folder: Path) -> str:
    total = 0
    for entry in os.scandir(folder):
        with contextlib.suppress(OSError):
            size = entry.stat(follow_symlinks=False).st_size
            total += size
            if entry.name == LOG_FILE and size > MAX_LOG:
                return f"it wrote more than {MAX_LOG // 2**20} MiB of log"
    return f"it wrote more than {MAX_FOLDER // 2**30} GiB of files" if total > MAX_FOLDER else ""


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(1024 * 1024).decode(errors="replace")
    except OSError:
        return ""
