"""The receiver of the board: a FIFO that overruns, and a processor that sees bytes late."""

from __future__ import annotations

from collections import deque


class ReceiveFifo:
    """A UART's receive FIFO: what arrives while it is full is lost.

    Source: TL16C550C datasheet, "FIFO interrupt mode operation": 16 bytes; after an overrun the
    FIFO is as it was and the byte in the shift register is overwritten.

    Args:
        size: Bytes that it holds.
        drain: Bytes per second that the processor takes out; 0 takes each at once.

    Attributes:
        overrun: Bytes lost so far.
    """

    def __init__(self, size: int, drain: float) -> None:
        self._size = size
        self._take_s = 1.0 / drain if drain else 0.0
        self._held: deque[int] = deque()
        self._out = bytearray()
        self._next = 0.0  # when the processor can take a byte again
        self._stopped = False
        self.overrun = 0

    def arrive(self, data: bytes, start: float, end: float) -> None:
        """Take ``data``, whose bytes came evenly spread from ``start`` to ``end``."""
        if not self._take_s and not self._stopped:
            self._drain(end)
            self._out += data
            return
        each = (end - start) / len(data) if data else 0.0
        for place, value in enumerate(data, 1):
            when = start + place * each
            self._drain(when)
            if len(self._held) >= self._size:
                self.overrun += 1
                continue
            if not self._held:
                self._next = max(self._next, when)
            self._held.append(value)

    def read(self, now: float) -> bytes:
        """Return what the processor has taken by ``now``."""
        self._drain(now)
        got = bytes(self._out)
        self._out.clear()
        return got

    def stop(self, stopped: bool, now: float) -> None:
        """Let the processor take nothing any more, or go on from ``now``."""
        if self._stopped and not stopped:
            self._next = max(self._next, now)
        self._stopped = stopped

    def due(self) -> float | None:
        """Return when `read` will have something; None if only an arrival can change that."""
        if self._out:
            return 0.0
        return self._next if self._held and not self._stopped else None

    def clear(self) -> None:
        """Reset the FIFO: what it holds is gone."""
        self._held.clear()
        self._out.clear()

    def _drain(self, now: float) -> None:
        while self._held and not self._stopped and self._next <= now:
            self._out.append(self._held.popleft())
            self._next += self._take_s


class Delay:
    """Hands bytes on after a fixed time, in order."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._held: deque[tuple[float, bytes]] = deque()

    def put(self, data: bytes, now: float) -> None:
        """Take ``data`` at ``now``."""
        if data:
            self._held.append((now + self._seconds, data))

    def get(self, now: float) -> bytes:
        """Return what is due by ``now``."""
        got = b""
        while self._held and self._held[0][0] <= now:
            got += self._held.popleft()[1]
        return got

    def clear(self) -> None:
        """Drop everything."""
        self._held.clear()

    def due(self) -> float | None:
        """Return when the next bytes are due; None if there are none."""
        return self._held[0][0] if self._held else None
