"""Bytes proved to be in the RAM of a board, by the quickest way that it has.

Over a serial line they go compressed where the board can unpack them. What arrived is proved by a
CRC-32 over the unpacked bytes, computed on the board; what did not arrive whole is sent again.
"""

from __future__ import annotations

import gzip
import lzma
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labctl.boards.flash.method import FlashError
from labctl.boards.flash.uboot.monitor import Monitor
from labctl.boards.flash.uboot.upload import Reached, Upload

_TRIES = 3
_LARGEST = 32 << 20
_ALIGN = 1 << 16
# bytes/s that a slow core unpacks at least.
_SLOWEST = 1 << 19
# LZMA costs some seconds here; it is worth them on a transfer of so many seconds.
_PATIENCE_S = 10.0
# A compressed payload has to be so much smaller to be worth the unpacking.
_WORTH = 0.95
_LZMA_HEAD = 13
# bytes/s at 115200 baud, for a line that does not say its rate.
_USUAL_LINE = 11_520


@dataclass(frozen=True)
class Payload:
    """What goes over the wire for some bytes.

    Attributes:
        data: The bytes to send.
        unpack: U-Boot's command that unpacks them; empty where they are as they should be.
    """

    data: bytes
    unpack: str = ""


class Stager:
    """Puts bytes into RAM.

    Args:
        monitor: The board's U-Boot.
        uploads: Ways there, the quickest first.
        base: First address that may be used.
    """

    def __init__(self, monitor: Monitor, uploads: Sequence[Upload], base: int) -> None:
        self._monitor = monitor
        self._uploads = list(uploads)
        self.base = base
        room = (monitor.ceiling(base) - base) // 2 // _ALIGN * _ALIGN
        if room <= 0:
            raise FlashError(
                f"there is no room at {base:#x} in its RAM: U-Boot is there", thing=monitor.name,
                action="give another 'load' in its model",
            )  # fmt: skip
        self.room = min(room, _LARGEST)
        self.sent = 0

    @property
    def scratch(self) -> int:
        """Address of as much RAM again as `room`."""
        return self.base + self.room

    @property
    def upload(self) -> Upload:
        """The way that is used.

        Raises:
            FlashError: There is none.
        """
        reasons = []
        while self._uploads:
            if (problem := self._uploads[0].why_not()) is None:
                return self._uploads[0]
            reasons.append(f"{self._uploads[0].name}: {problem}")
            self._uploads.pop(0)
        raise FlashError(f"no way to get bytes there ({'; '.join(reasons) or 'none is left'})",
                         thing=self._monitor.name)  # fmt: skip

    def pack(self, data: bytes) -> Payload:
        """Return how ``data`` would go over the wire."""
        upload = self.upload
        if not upload.by_line:
            return Payload(data)
        limit = upload.limit() or _USUAL_LINE
        best = Payload(data)
        if self._monitor.has("unzip"):
            best = _smaller(best, Payload(gzip.compress(data, 9, mtime=0), "unzip"))
        if self._monitor.has("lzmadec") and len(best.data) / limit > _PATIENCE_S:
            best = _smaller(best, Payload(_lzma(data), "lzmadec"))
        return best

    def stage(self, data: bytes, reached: Reached = lambda done: None) -> int:
        """Put ``data`` into RAM and prove it; return its address.

        Args:
            data: At most `room` bytes.
            reached: Gets the bytes of ``data`` that have arrived, as it goes.

        Raises:
            FlashError: It did not arrive whole in several tries.
        """
        self.put(self.base, self.scratch, data, reached)
        return self.base

    def put(self, address: int, scratch: int, data: bytes, reached: Reached) -> None:
        """Put ``data`` at ``address``, by way of ``scratch`` where it must be unpacked."""
        payload = self.pack(data)
        share = len(data) / max(1, len(payload.data))
        for _ in range(_TRIES):
            self._carry(scratch if payload.unpack else address, payload, _scaled(reached, share))
            if payload.unpack:
                line = f"{payload.unpack} {scratch:#x} {address:#x} {len(data):#x}"
                try:
                    self._monitor.run(line, timeout=10.0 + len(data) / _SLOWEST)
                except FlashError:
                    continue  # damaged on the way
            if self._monitor.matches(address, data):
                return
        raise FlashError(
            f"{len(data):,} bytes did not arrive whole in {_TRIES} tries", thing=self._monitor.name,
            action="look at the rate and the cable of the line",
        )  # fmt: skip

    def _carry(self, address: int, payload: Payload, reached: Reached) -> None:
        """Send the payload; a network that fails gives way to the line."""
        while True:
            upload = self.upload
            try:
                upload.send(address, payload.data, reached)
            except FlashError:
                if upload.by_line or len(self._uploads) < 2:
                    raise
                self._uploads.pop(0)
                continue
            self.sent += len(payload.data)
            return

    def cancel(self) -> None:
        """End what is going on; raises nothing."""
        for upload in self._uploads:
            upload.cancel()

    def close(self) -> None:
        """Leave nothing behind."""
        for upload in self._uploads:
            upload.close()


def _smaller(one: Payload, other: Payload) -> Payload:
    return other if len(other.data) < _WORTH * len(one.data) else one


def _lzma(data: bytes) -> bytes:
    """Return ``data`` as a .lzma file, its size in the header as U-Boot's lzmadec wants it.

    Source: the LZMA SDK's lzma.txt: properties (1 byte), dictionary size (4), size (8).
    """
    packed = lzma.compress(data, lzma.FORMAT_ALONE, preset=6)
    return packed[:5] + struct.pack("<Q", len(data)) + packed[_LZMA_HEAD:]


def _scaled(reached: Reached, share: float) -> Callable[[int], None]:
    return lambda done: reached(int(done * share))
