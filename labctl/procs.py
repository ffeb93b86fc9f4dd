"""Processes that are surely the ones we started: by start time, or by a word of their command line.

A process id alone proves nothing, since the kernel gives it out again. Sources: proc_pid_stat(5)
(field 22, start time in clock ticks since boot), proc_pid_cmdline(5), random(4) (boot_id).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessId:
    """A process for all time: no other process ever equals it.

    Attributes:
        pid: Process id.
        start: Start time in clock ticks since boot.
        boot: Identity of that boot.
    """

    pid: int
    start: int
    boot: str


def boot_id() -> str:
    """Return the identity of this boot of the machine."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the third (state) on, or None if it has gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The second field is the name in brackets, which may itself hold brackets and blanks.
    return text.rpartition(")")[2].split()


def identify(pid: int) -> ProcessId | None:
    """Return the identity of the running process ``pid``; None if it has gone or is a zombie."""
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return None
    return ProcessId(pid, int(fields[19]), boot_id())


def alive(process: ProcessId) -> bool:
    """Tell whether exactly this process still runs."""
    return identify(process.pid) == process


def find_by_word(word: str) -> list[ProcessId]:
    """Return our user's processes that have ``word`` as a whole argument, oldest first."""
    needle = word.encode()
    found = []
    for entry in os.scandir(_PROC):
        if not entry.name.isdigit():
            continue
        try:
            if entry.stat().st_uid != os.geteuid():
                continue
            arguments = Path(entry.path, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if needle in arguments and (process := identify(int(entry.name))):
            found.append(process)
    return sorted(found, key=lambda process: (process.start, process.pid))


def uptime_s(process: ProcessId) -> float:
    """Return for how many seconds ``process`` has run."""
    since_boot = float((_PROC / "uptime").read_text().split()[0])
    return max(0.0, since_boot - process.start / os.sysconf("SC_CLK_TCK"))


def terminate(process: ProcessId, *, grace_s: float = 3.0) -> bool:
    """End ``process``: SIGTERM, then SIGKILL after ``grace_s`` seconds; wait until it has gone.

    A pidfd pins the process, so that a reused id is never hit (pidfd_open(2)).

    Returns:
        True if it has gone when this returns.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if not alive(process):
            return True
        for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            if wait_gone(process, timeout_s=patience_s):
                return True
        return False
    finally:
        os.close(descriptor)


def wait_gone(process: ProcessId, *, timeout_s: float) -> bool:
    """Wait at most ``timeout_s`` seconds for ``process`` to end; return whether it did."""
    deadline = time.monotonic() + timeout_s
    while alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
