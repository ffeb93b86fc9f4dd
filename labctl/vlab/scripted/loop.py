"""Wait for descriptors and moments, to the microsecond, and use no processor meanwhile.

Descriptors are watched edge-triggered (epoll(7)): a pseudo-terminal that nobody has open reports a
hang-up all the time, which must not keep the loop busy. epoll counts in milliseconds, a tenth of
which is a byte at 115200 baud, so the waiting itself is done by select(2) on the epoll descriptor.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable

_READABLE = select.EPOLLIN | select.EPOLLET
_EVENTS = _READABLE | select.EPOLLOUT


class Timer:
    """A call that will be made unless it is cancelled."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Call it off."""
        self.call = None


class Loop:
    """Calls back when something happened on a descriptor, and at given moments."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._running = True

    def watch(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call when ``descriptor`` has become readable or writable; read until it is empty."""
        self._calls[descriptor] = call
        self._epoll.register(descriptor, _EVENTS)

    def writable(self, descriptor: int, wanted: bool) -> None:
        """Say whether room for more output on ``descriptor`` is an event; it is at first."""
        self._epoll.modify(descriptor, _EVENTS if wanted else _READABLE)

    def unwatch(self, descriptor: int) -> None:
        """Stop watching; do so before closing it."""
        del self._calls[descriptor]
        self._epoll.unregister(descriptor)

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call once, ``seconds`` from now."""
        timer = Timer(call)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def stop(self) -> None:
        """Let `run` return."""
        self._running = False

    def run(self, service: Callable[[float], float | None]) -> None:
        """Serve until `stop`.

        Args:
            service: Called with the time after everything that happened; returns the time by
                which it wants to be called again, or None.
        """
        while self._running:
            self._run_timers()
            wanted = service(time.monotonic())
            if not self._running:
                return
            self._wait(wanted)

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.call:
                timer.call()

    def _wait(self, wanted: float | None) -> None:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        moments = [self._timers[0][0]] if self._timers else []
        if wanted is not None:
            moments.append(wanted)
        timeout = max(0.0, min(moments) - time.monotonic()) if moments else None
        if not select.select([self._epoll], [], [], timeout)[0]:
            return
        for descriptor, _ in self._epoll.poll(0):
            call = self._calls.get(descriptor)  # an earlier call may have unwatched it
            if call:
                call()
