"""When the bytes of one direction have gone over the wire."""

from __future__ import annotations

import math

# 8N1: a start bit, eight data bits, a stop bit.
BITS_PER_BYTE = 10
# Bytes are moved in batches of this length, as a USB adapter moves them (the latency timer of an
# FT232R is 16 ms): a batch is never early, and its bytes are late by less than this. Each costs
# some system calls, so shorter ones would cost the processor more than the board is worth.
BATCH_S = 0.01
# Makes up for the rounding of what `due` returned.
_ROUNDING_S = 1e-7


class Pacer:
    """A transmitter that takes ten bit times for each byte and never catches up by hurrying.

    Time comes from the caller, in seconds of any monotonic clock.

    Args:
        rate: Baud; 0 takes no time.
    """

    def __init__(self, rate: int) -> None:
        self._byte_s = BITS_PER_BYTE / rate if rate else 0.0
        self._batch = math.ceil(BATCH_S / self._byte_s) if rate else 0
        self._free_at = 0.0  # when the stop bit of the last byte was over

    def begin(self, now: float) -> None:
        """Say that there is something to send again, after there was nothing."""
        self._free_at = max(self._free_at, now)

    def take(self, now: float, waiting: int) -> tuple[int, float, float]:
        """Return how many of ``waiting`` bytes are over by ``now``, and from when to when.

        Nothing before the batch is over: whoever reads it wakes us, and would get byte by byte.
        """
        start = self._free_at
        if not self._byte_s:
            return waiting, now, now
        over = max(0, int((now - start + _ROUNDING_S) / self._byte_s))
        count = min(waiting, over) if over >= min(waiting, self._batch) else 0
        self._free_at = start + count * self._byte_s
        return count, start, self._free_at

    def due(self, waiting: int) -> float:
        """Return when the next batch of ``waiting`` bytes (at least one) will be over."""
        if not self._byte_s:
            return self._free_at
        return self._free_at + self._byte_s * min(waiting, self._batch)
