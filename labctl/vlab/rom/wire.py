"""One direction of a serial line: its pace, and bytes that get changed, lost or doubled."""

from __future__ import annotations

import math
from collections import deque

from labctl.vlab.rom.uart import Format

# Bytes are moved in batches of about a millisecond, as a USB adapter or a 16550's FIFO moves
# them: a batch is never early, and its bytes are late by less than this.
_BATCH_S = 0.001
# What a fault does to the byte that it hits.
KINDS = ("flip", "lose", "double")


class Direction:
    """One direction.

    Args:
        paced: Bytes take their time on the wire; otherwise none.

    Attributes:
        count: Bytes that went over it.
    """

    def __init__(self, *, paced: bool) -> None:
        self._paced = paced
        # Bytes under way, with how their sender was set when it sent them.
        self._queue: deque[tuple[Format, bytearray]] = deque()
        self._free_at = 0.0
        self._faults: dict[int, str] = {}
        self.count = 0

    def harm(self, kind: str, after: int) -> None:
        """Let ``kind`` happen to the byte that comes after ``after`` more bytes."""
        waiting = sum(len(data) for _, data in self._queue)
        self._faults[self.count + waiting + after] = kind

    def heal(self) -> None:
        """Forget the faults that have not happened."""
        self._faults.clear()

    def put(self, data: bytes, now: float, sender: Format) -> None:
        """Take what its sender sends, as ``sender`` says that it is set."""
        if not data:
            return
        if not self._queue:
            self._free_at = max(self._free_at, now)
        if self._queue and self._queue[-1][0] == sender:
            self._queue[-1][1].extend(data)
        else:
            self._queue.append((sender, bytearray(data)))

    def clear(self) -> None:
        """Forget what is under way."""
        self._queue.clear()

    def _byte_s(self, sender: Format) -> float:
        return sender.bits / sender.baud if self._paced and sender.baud else 0.0

    def take(self, now: float, most: int) -> tuple[Format, bytes, int]:
        """Return what has arrived by ``now``: how it was sent, with faults, of how many bytes."""
        if not self._queue:
            return Format(), b"", 0
        sender, queue = self._queue[0]
        byte_s = self._byte_s(sender)
        count = min(len(queue), most)
        if byte_s:
            # The small share makes up for the rounding of what `due` returned.
            count = min(count, max(0, int((now - self._free_at) / byte_s + 1e-3)))
            self._free_at += count * byte_s
        data = bytes(queue[:count])
        del queue[:count]
        if not queue:
            self._queue.popleft()
        return sender, self._damaged(data), count

    def _damaged(self, data: bytes) -> bytes:
        begin, self.count = self.count, self.count + len(data)
        for at in sorted((one for one in self._faults if one < self.count), reverse=True):
            kind, place = self._faults.pop(at), at - begin
            byte = data[place : place + 1]
            new = {"flip": bytes([byte[0] ^ 0x10]), "lose": b"", "double": byte * 2}[kind]
            data = data[:place] + new + data[place + 1 :]
        return data

    def due(self) -> float | None:
        """Return when the next batch has arrived, or None."""
        if not self._queue:
            return None
        sender, queue = self._queue[0]
        byte_s = self._byte_s(sender)
        if not byte_s:
            return self._free_at
        return self._free_at + byte_s * min(len(queue), math.ceil(_BATCH_S / byte_s))
