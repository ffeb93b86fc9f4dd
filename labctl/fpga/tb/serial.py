"""The far end of a serial line: 8 data bits from the lowest, no parity, one stop bit.

It sleeps from edge to edge, not from cycle to cycle, so a byte costs about ten turns of Python,
whatever the divisor.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import cocotb
from cocotb.triggers import Event, FallingEdge, First, Timer


class SerialLine:
    """Sends on one signal and receives on another.

    Args:
        to: the design's input, idle high.
        back: the design's output.
        bit_ps: length of a bit, ps.

    Attributes:
        got: what was received so far.
    """

    def __init__(self, to: Any, back: Any, bit_ps: int) -> None:
        self.to = to
        self.back = back
        self.bit_ps = bit_ps
        self.got = bytearray()
        self._wanted = 0
        self._enough = Event()
        self.to.value = 1

    def start(self) -> "SerialLine":
        """Begin to receive; returns itself."""
        cocotb.start_soon(self._receive())
        return self

    async def send(self, data: bytes, stop: int = 1) -> None:
        """Send bytes back to back; returns when the last stop bit is over.

        Args:
            data: the bytes.
            stop: the level of the stop bits; 0 is a framing error.
        """
        for level, several in groupby(_levels(data, stop)):
            self.to.value = level
            await Timer(self.bit_ps * len(list(several)), "ps")
        self.to.value = 1

    async def send_low(self, bits: float) -> None:
        """Hold the line low for so many bits: a break, or noise."""
        self.to.value = 0
        await Timer(round(self.bit_ps * bits), "ps")
        self.to.value = 1

    async def pause(self, bits: float) -> None:
        """Leave the line idle for so many bits."""
        await Timer(round(self.bit_ps * bits), "ps")

    async def receive(self, count: int, bits: float) -> bytes:
        """Take `count` bytes.

        Args:
            count: how many.
            bits: how many bit times to wait for all of them at most.

        Raises:
            AssertionError: fewer came.
        """
        if len(self.got) < count:
            late = Timer(round(self.bit_ps * bits), "ps")
            self._wanted = count
            self._enough.clear()
            first = await First(self._enough.wait(), late)
            assert first is not late, f"{len(self.got)} of {count} bytes in {bits:.0f} bit times"
        data = bytes(self.got[:count])
        del self.got[:count]
        return data

    async def _receive(self) -> None:
        while True:
            await FallingEdge(self.back)
            await Timer(self.bit_ps * 3 // 2, "ps")
            byte = 0
            for bit in range(8):
                byte |= int(self.back.value) << bit
                await Timer(self.bit_ps, "ps")
            assert self.back.value == 1, f"no stop bit after {byte:#04x}"
            self.got.append(byte)
            if len(self.got) == self._wanted:
                self._enough.set()


def _levels(data: bytes, stop: int) -> Iterable[int]:
    for byte in data:
        yield 0
        for bit in range(8):
            yield byte >> bit & 1
        yield stop
