"""A line as esptool wants one: the few things that it uses of a port of pyserial.

So esptool works over every kind of line, and the record of the line has all that was said.
"""

from __future__ import annotations

import time
from typing import Protocol


class Wire(Protocol):
    """What is needed of a line; `labctl.boards.client.LineClient` has it."""

    def write(self, data: bytes) -> None:
        """Send."""

    def read(self, timeout: float) -> bytes:
        """Return bytes as soon as there are some, nothing after ``timeout`` seconds."""

    def set_baud(self, rate: int) -> None:
        """Change the rate, baud."""


class LinePort:
    """The port.

    Args:
        wire: The line.
        name: What the line is called.

    Attributes:
        timeout: Seconds that a read waits.
        write_timeout: Not used: the line has deadlines of its own.
    """

    def __init__(self, wire: Wire, name: str) -> None:
        self._wire = wire
        self._baud = 0
        self._waiting = b""
        self.port = self.name = name
        self.timeout: float | None = 3.0
        self.write_timeout: float | None = None
        self.is_open = True

    @property
    def baudrate(self) -> int:
        """Rate, baud."""
        return self._baud

    @baudrate.setter
    def baudrate(self, rate: int) -> None:
        if rate != self._baud:
            self._wire.set_baud(rate)
            self._baud = rate

    def _gather(self, timeout: float) -> bool:
        piece = self._wire.read(timeout)
        self._waiting += piece
        return bool(piece)

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read at once."""
        while self._gather(0.0):
            pass
        return len(self._waiting)

    def read(self, size: int = 1) -> bytes:
        """Return ``size`` bytes, or what came within the time-out."""
        deadline = time.monotonic() + (self.timeout or 0.0)
        while len(self._waiting) < size:
            left = max(0.0, deadline - time.monotonic())
            if not self._gather(left):
                break
        data, self._waiting = self._waiting[:size], self._waiting[size:]
        return data

    def write(self, data: bytes) -> int:
        """Send."""
        self._wire.write(bytes(data))
        return len(data)

    def reset_input_buffer(self) -> None:
        """Throw away what has come."""
        while self._gather(0.0):
            pass
        self._waiting = b""

    def reset_output_buffer(self) -> None:
        """Nothing is kept here."""

    def open(self) -> None:
        """The line is open."""

    def close(self) -> None:
        """The line stays open: it is its owner's."""

    # The names of pyserial 2, which esptool still uses.
    def inWaiting(self) -> int:  # noqa: N802
        """Return how many bytes can be read at once."""
        return self.in_waiting

    def flushInput(self) -> None:  # noqa: N802
        """Throw away what has come."""
        self.reset_input_buffer()

    def flushOutput(self) -> None:  # noqa: N802
        """Nothing is kept here."""

    def isOpen(self) -> bool:  # noqa: N802
        """Tell that it is open."""
        return True
