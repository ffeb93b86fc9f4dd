"""Wait for descriptors and moments, to the microsecond, and use no processor meanwhile.

select(2) and not epoll(7), which counts in milliseconds: ten bytes at 115200 baud.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable


class Loop:
    """Calls back when a descriptor is readable, and at given moments."""

    def __init__(self) -> None:
        self._calls: dict[int, Callable[[], None]] = {}
        self._running = True

    def watch(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call when ``descriptor`` is readable."""
        self._calls[descriptor] = call

    def unwatch(self, descriptor: int) -> None:
        """Stop watching; do so before closing it."""
        self._calls.pop(descriptor, None)

    def stop(self) -> None:
        """Let `run` return."""
        self._running = False

    def run(self, service: Callable[[float], float | None]) -> None:
        """Serve until `stop`; ``service`` gets the time and returns when it is due again."""
        while self._running:
            due = service(time.monotonic())
            timeout = None if due is None else max(0.0, due - time.monotonic())
            ready, _, _ = select.select(list(self._calls), [], [], timeout)
            for descriptor in ready:
                call = self._calls.get(descriptor)  # an earlier call may have unwatched it
                if call:
                    call()
