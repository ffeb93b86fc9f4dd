"""The serial port inside a simulated chip, and how its other end is set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """How an end of a line sends.

    Attributes:
        baud: Rate, baud; 0 where it is not known.
        parity: ``none``, ``even`` or ``odd``; None where it is not known (a pseudo-terminal keeps
            no parity: drivers/tty/pty.c of Linux clears PARENB).
    """

    baud: int = 0
    parity: str | None = None

    @property
    def bits(self) -> int:
        """Bits of one byte on the wire: start, eight data bits, parity, stop."""
        return 11 if self.parity in ("even", "odd") else 10


class Uart:
    """The chip's end.

    Args:
        host: Returns how the other end is set at this moment.
        fifo: Bytes that the receiver keeps while the program is busy.

    Attributes:
        format: How the chip is set; with baud 0 it takes any (it measures the first byte).
    """

    def __init__(self, host: Callable[[], Format], *, fifo: int) -> None:
        self.host = host
        self.fifo = fifo
        self.format = Format()

    def measure(self, *, most: int) -> None:
        """Set the rate to that of the other end, as a boot loader does; no higher than ``most``."""
        rate = self.host().baud
        self.format = Format(min(rate, most), self.format.parity)


def disturbed(data: bytes, sender: Format, receiver: Format) -> bytes:
    """Return what ``receiver`` makes of what ``sender`` sent.

    Another rate makes other bytes of all of them. Where only one side has a parity bit, its place
    is that of a stop bit: bytes with an even number of ones are damaged, the others pass. (So a
    boot loader at 8E1 answers 0x7F from a host at 8N1, and refuses its first command.)
    """
    if sender.baud and receiver.baud and abs(sender.baud - receiver.baud) > sender.baud * 0.04:
        return bytes((byte * 0x4D + 0x35) & 0xFF for byte in data)
    if sender.parity is None or receiver.parity is None or sender.parity == receiver.parity:
        return data
    return bytes(byte ^ 0x80 if byte.bit_count() % 2 == 0 else byte for byte in data)
