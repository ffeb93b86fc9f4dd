"""What a receiver reads from a line whose sender has another rate: the true garbage.

The line is worked out bit by bit: a byte is a start bit (0), eight data bits, lowest first, and a
stop bit (1); an idle line is 1. The receiver waits for a 0, looks at the middle of each bit by its
own clock, and takes what it sees. Sources: TL16C550C datasheet (Texas Instruments SLLS177),
"Receiver", and its remark on framing errors in the line status register.
"""

from __future__ import annotations

import math


def _frame(value: int) -> bytes:
    return bytes([0, *(value >> bit & 1 for bit in range(8)), 1])


_FRAMES = [_frame(value) for value in range(256)]


class Resampler:
    """One direction between two clocks.

    Args:
        sender: Baud of the sender.
        receiver: Baud of the receiver.

    Attributes:
        framing_errors: Bytes so far whose stop bit read 0.
    """

    def __init__(self, sender: int, receiver: int) -> None:
        # All times here are in bits of the sender.
        self._bit = sender / receiver
        self._line = bytearray()  # the level in each bit time
        self._at = 0.0  # where the receiver goes on
        self._low = False  # it saw a 0 where the stop bit should be
        self.framing_errors = 0

    def feed(self, data: bytes) -> bytes:
        """Put ``data`` on the line without a gap; return what the receiver has by then."""
        self._line += b"".join([_FRAMES[value] for value in data])
        return self._receive()

    def idle(self) -> bytes:
        """Leave the line idle for long; return what was still on its way."""
        self._line += b"\x01" * (math.ceil(10 * self._bit) + 2)
        got = self._receive()
        self._line.clear()
        self._at, self._low = 0.0, False
        return got

    def _receive(self) -> bytes:
        line, bit, out = self._line, self._bit, bytearray()
        while True:
            if self._low:
                # After a byte with a framing error the low stop bit is taken for the middle of an
                # early start bit (whose beginning may be forgotten already).
                edge = self._at - 0.5 * bit
            elif (found := line.find(0, int(self._at))) >= 0:
                edge = float(found)
            else:
                self._at = float(len(line))
                break
            if edge + 9.5 * bit >= len(line):
                break
            self._at = edge + 0.5 * bit
            self._low = False
            if line[int(self._at)]:
                continue  # shorter than half a bit: no start bit
            value = 0
            for place in range(8):
                value |= line[int(edge + (1.5 + place) * bit)] << place
            self._at = edge + 9.5 * bit
            out.append(value)
            if not line[int(self._at)]:
                self.framing_errors += 1
                if value:
                    self._low = True
                else:  # a break; it is over when the line is high, and each sent byte ends high
                    self._at = float(line.find(1, int(self._at)))
        self._forget()
        return bytes(out)

    def _forget(self) -> None:
        """Drop what the receiver has passed."""
        passed = int(self._at)
        if passed > 0:
            del self._line[:passed]
            self._at -= passed
