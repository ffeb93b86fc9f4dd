"""Work that may hang for ever, in a child with a deadline: what hangs costs itself alone.

A call into a wedged driver, or a look at a file system whose server is gone, never returns, and the
process that made it cannot be killed. So it is made in a child of its own, which is left behind.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable

_KILL = 9  # signal(7); the module signal is slow to import
# What a child that was killed may take to be gone; one that waits in the kernel never is.
_PATIENCE_S = 0.5


def drain(reading: int, end: float) -> tuple[bytes, bool]:
    """Return what comes through the pipe ``reading``, and whether that is all.

    Args:
        reading: The end of the pipe that is read.
        end: When to stop, as `time.monotonic` counts.
    """
    pieces: list[bytes] = []
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    while True:
        left = end - time.monotonic()
        if left <= 0:
            return b"".join(pieces), False
        if poll.poll(left * 1000):
            piece = os.read(reading, 65536)
            if not piece:
                return b"".join(pieces), True
            pieces.append(piece)


def finish(child: int, *, whole: bool, patience_s: float = _PATIENCE_S) -> None:
    """Reap ``child``, which has said everything if ``whole``, and is killed if not."""
    if whole:
        os.waitpid(child, 0)
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, _KILL)
    end = time.monotonic() + patience_s
    while os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < end:
        time.sleep(0.01)


class Child:
    """Work under way in a child. `result` must be called, once.

    It forks: the process must have one thread only when this is made.

    Args:
        work: Gets a function that takes text home; runs in the child.
        deadline: Seconds from now on.
    """

    def __init__(self, work: Callable[[Callable[[str], object]], object], deadline: float) -> None:
        self._end = time.monotonic() + deadline
        self._reading, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._reading)
                # Nothing else of ours is for it: whoever waits for the end of our output must not
                # wait for a child that hangs.
                null = os.open(os.devnull, os.O_RDWR)
                for number in (0, 1, 2):
                    os.dup2(null, number)
                work(lambda text: _write(writing, text.encode(errors="replace")))
            finally:
                os._exit(0)  # nothing of the parent's (buffers, exit handlers) runs twice
        os.close(writing)

    def result(self) -> tuple[str, bool]:
        """Return what the work wrote, and whether it came to its end in time."""
        said, whole = drain(self._reading, self._end)
        os.close(self._reading)
        finish(self._pid, whole=whole)
        return said.decode(errors="replace"), whole


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
