"""What every serial line looks like to its owner: a descriptor to poll, bytes in, bytes out.

Nothing here blocks but opening. The owner of a line (`labctl.boards.owner`) polls the descriptor
and is the only one who reads; there are no per-read time-outs anywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from labctl.errors import BusyError, LabctlError, UnreachableError
from labctl.transport.lines.settings import Parity


class LineGoneError(UnreachableError):
    """The line went away: unplugged, closed by the other side, the emulator ended.

    The owner opens it again when it is back; this is a normal state and no defect.
    """


class LineBusyError(BusyError):
    """Another program holds the line; the cause names it and the action says what to do."""


class UnsupportedError(LabctlError):
    """This kind of line cannot do that (a raw TCP port has no break, for example)."""


class Line(ABC):
    """An open serial line.

    Attributes:
        url: What it was opened from, for messages.
    """

    url: str

    @abstractmethod
    def fileno(self) -> int:
        """Return the descriptor to poll: readable when `read` has something to do.

        Right after opening, and after `set_baud` and the like, some bytes may
        already be here (they came between the answers of a console server): `read` until it is
        empty, then poll.
        """

    @property
    def device(self) -> str | None:
        """Path of the device file by which another program can open it; None if it has none."""
        return None

    @abstractmethod
    def read(self, limit: int) -> bytes:
        """Return what has arrived, at most about ``limit`` bytes; empty if nothing has.

        Never blocks. Call it again until it is empty before polling.

        Raises:
            LineGoneError: The line went away.
        """

    @abstractmethod
    def write(self, data: bytes) -> int:
        """Take some of ``data`` and return how many bytes were taken; 0 if none can be now.

        Never blocks. The owner tries again when the descriptor is writable (or after a moment).

        Raises:
            LineGoneError: The line went away.
        """

    @abstractmethod
    def close(self) -> None:
        """Close it; calling it twice is fine."""

    def send_break(self, seconds: float) -> None:
        """Hold the break condition for ``seconds``; may block for as long.

        Raises:
            UnsupportedError: This kind of line has no break.
        """
        raise UnsupportedError("this kind of line cannot send a break", thing=self.url)

    def set_baud(self, rate: int) -> None:
        """Change the rate, baud, on an open line.

        Raises:
            UnsupportedError: The rate of this kind of line is set elsewhere.
        """
        raise UnsupportedError("the rate of this kind of line is set elsewhere", thing=self.url)

    def set_parity(self, parity: Parity) -> None:
        """Change the parity on an open line; a pseudo-terminal has none and takes any.

        Raises:
            UnsupportedError: The format of this kind of line is set elsewhere.
        """
        raise UnsupportedError("the format of this kind of line is set elsewhere", thing=self.url)

    def set_signals(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Set modem control outputs; None leaves one as it is. True is asserted (active).

        Raises:
            UnsupportedError: This kind of line has none.
        """
        raise UnsupportedError("this kind of line has no DTR and RTS", thing=self.url)
