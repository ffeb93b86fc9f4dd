"""The one thing besides the loop: work that blocks, on a thread, its end told to the loop."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable

Finish = Callable[[], None]


class Worker:
    """Runs one work at a time; a descriptor is readable when something has to be finished.

    Attributes:
        busy: Work is being done.
    """

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._done: deque[Finish] = deque()
        self.busy = False

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._read.fileno()

    def wake(self) -> None:
        """Make the descriptor readable; may be called by a signal handler."""
        self._write.send(b"\0")

    def start(self, work: Callable[[], Finish]) -> None:
        """Run ``work`` on a thread; what it returns is then called by `finish`."""
        self.busy = True

        def run() -> None:
            self._done.append(work())
            self.wake()

        threading.Thread(target=run, daemon=True).start()

    def finish(self, events: int = 0) -> None:
        """Call what finished work has returned; for the loop, when the descriptor is readable."""
        self._read.recv(64)
        while self._done:
            self.busy = False
            self._done.popleft()()
