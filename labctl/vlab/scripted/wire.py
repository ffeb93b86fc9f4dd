"""One direction of the line: what is sent now arrives later, perhaps as something else."""

from __future__ import annotations

from collections.abc import Sequence

from labctl.vlab.scripted.damage import Stage
from labctl.vlab.scripted.pacing import Pacer
from labctl.vlab.scripted.resample import Resampler

# A receiver by its crystal is within a few per mille; adapters round their divisors likewise.
_SAME_RATE = 0.005
_MOST_AT_ONCE = 65536


class Wire:
    """Bytes under way in one direction.

    Attributes:
        sent: Bytes that have gone over it.
    """

    def __init__(self) -> None:
        self._queue = bytearray()
        self._pacer = Pacer(0)
        self._rates = (0, 0)
        self._resampler: Resampler | None = None
        self._stages: Sequence[Stage] = ()
        self._framing_errors = 0
        self.sent = 0

    def __len__(self) -> int:
        """Return how many bytes wait to be sent."""
        return len(self._queue)

    @property
    def framing_errors(self) -> int:
        """Bytes so far whose stop bit the receiver read as 0."""
        now = self._resampler.framing_errors if self._resampler else 0
        return self._framing_errors + now

    def set_rates(self, sender: int, receiver: int, now: float) -> None:
        """Set the baud of both ends; 0 at the sender does not pace, 0 anywhere garbles nothing."""
        if (sender, receiver) == self._rates:
            return
        self._framing_errors = self.framing_errors
        self._rates = (sender, receiver)
        self._pacer = Pacer(sender)
        self._pacer.begin(now)
        same = not (sender and receiver) or abs(sender / receiver - 1) < _SAME_RATE
        self._resampler = None if same else Resampler(sender, receiver)

    def set_damage(self, stages: Sequence[Stage]) -> None:
        """Let ``stages``, in this order, damage what arrives."""
        self._stages = stages

    def resume(self, now: float) -> None:
        """Go on after the transmitter stood still; it does not make up for that."""
        self._pacer.begin(now)

    def put(self, data: bytes, now: float) -> None:
        """Hand ``data`` to the transmitter."""
        if not self._queue:
            self._pacer.begin(now)
        self._queue += data

    def take(self, now: float, most: int = _MOST_AT_ONCE) -> tuple[bytes, float, float]:
        """Return what has arrived by ``now``, and from when to when; ``most`` bytes are sent."""
        waiting = min(len(self._queue), most, _MOST_AT_ONCE)
        count, start, end = self._pacer.take(now, waiting)
        if not count:
            return b"", now, now
        data = bytes(self._queue[:count])
        del self._queue[:count]
        self.sent += count
        if self._resampler:
            data = self._resampler.feed(data)
            if not self._queue:
                data += self._resampler.idle()
        for stage in self._stages:
            data = stage.apply(data)
        return data, start, end

    def due(self) -> float | None:
        """Return when `take` will have something; None if nothing is under way."""
        return self._pacer.due(len(self._queue)) if self._queue else None

    def clear(self) -> None:
        """Drop what has not been sent."""
        self._queue.clear()
