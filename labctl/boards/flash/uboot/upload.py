"""Ways to get bytes from here into the RAM of a board that is at U-Boot's prompt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from labctl.boards.flash.uboot.monitor import Monitor

Reached = Callable[[int], None]


class Upload(ABC):
    """One way.

    Args:
        monitor: The board's U-Boot.

    Attributes:
        name: What a model calls it, in ``via:``.
        by_line: The bytes go over the serial line, so fewer of them are worth some computing.
    """

    name: ClassVar[str]
    by_line: ClassVar[bool]

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor

    @abstractmethod
    def why_not(self) -> str | None:
        """Return why it cannot be used, or None."""

    @abstractmethod
    def limit(self) -> float | None:
        """Return the bytes of payload per second that it carries at most; None if unknown."""

    @abstractmethod
    def describe(self) -> str:
        """Return it for people: ``YMODEM at 115200 baud``."""

    @abstractmethod
    def send(self, address: int, data: bytes, reached: Reached) -> None:
        """Put ``data`` at ``address``; whether it arrived whole is for the caller to prove.

        Args:
            address: Where, in the board's memory.
            data: What.
            reached: Gets the bytes that have arrived, as it goes.

        Raises:
            LabctlError: It could not; the board is at U-Boot's prompt again.
        """

    def cancel(self) -> None:  # noqa: B027 - there may be nothing to end
        """End what is going on, so that U-Boot comes back to its prompt; raises nothing."""

    def close(self) -> None:  # noqa: B027 - nor to leave
        """Leave nothing behind: a server ends, the rate is as it was."""
