"""What a conversation with a board needs of the line: read what came, write, know where one is.

The engine talks to this and to nothing else, so it serves the owner's line in daily use
(`labctl.boards.client`) and a plain pseudo-terminal in tests.
"""

from __future__ import annotations

from typing import Protocol


class Channel(Protocol):
    """A byte stream that is recorded as it arrives."""

    @property
    def offset(self) -> int:
        """Offset, in the record of the line, of the next byte that `read` returns."""
        ...

    def read(self, timeout: float) -> bytes:
        """Return bytes as soon as there are some, nothing if none came within ``timeout`` seconds.

        Raises:
            LineGoneError: The line went away while waiting.
            LeaseLostError: Somebody took the line from us.
        """
        ...

    def write(self, data: bytes) -> None:
        """Hand ``data`` to the line; returns when the line's owner has taken it.

        Raises:
            LineGoneError: The line is not there.
            LeaseLostError: Somebody took the line from us.
        """
        ...

    def send_break(self, seconds: float) -> None:
        """Hold the break condition for ``seconds``.

        Raises:
            UnsupportedError: The line cannot.
        """
        ...
