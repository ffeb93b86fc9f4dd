"""What the software of the board (`uboot`, `linux`) gets from the board, and gives to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from labctl.vlab.scripted.loop import Timer
from labctl.vlab.scripted.settings import Settings


class Machine(Protocol):
    """The board, as its software sees it.

    Attributes:
        folder: Where the board keeps what outlives its power: the environment, the home folder.
    """

    folder: Path

    @property
    def settings(self) -> Settings:
        """The settings of this moment."""
        ...

    @property
    def uptime(self) -> float:
        """Seconds since the last reset."""
        ...

    def emit(self, data: bytes) -> None:
        """Hand ``data`` to the transmitter."""
        ...

    def emit_raw(self, data: bytes) -> None:
        """Hand ``data`` to the transmitter, with nothing in between."""
        ...

    def set_rate(self, baud: int) -> None:
        """Set the rate of the board's UART, until it is reset, once all is sent."""
        ...

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call once in ``seconds``, but not while the processor hangs, nor after a reset."""
        ...

    def cut(self) -> None:
        """Drop what was emitted and not sent yet: nobody feeds the transmitter any more."""
        ...

    def when_sent(self, call: Callable[[], None]) -> None:
        """Call once all that was emitted has been sent, as software does that polls the UART."""
        ...

    def reset(self) -> None:
        """Start again."""
        ...

    def start_linux(self) -> None:
        """Hand the board to Linux."""
        ...


class Software(Protocol):
    """What runs on the board at a time."""

    @property
    def state(self) -> str:
        """What it is doing, in one word, for ``x-stats``."""
        ...

    @property
    def listening(self) -> bool:
        """Whether it takes bytes out of the receiver now."""
        ...

    def receive(self, data: bytes) -> None:
        """Take what was typed."""
        ...

    def produce(self) -> None:
        """Emit some more, if it has more than it emitted so far; called when there is room."""
        ...

    def panic(self) -> None:
        """Fail for good, with the words that such software has for it."""
        ...

    def stop(self) -> None:
        """End; it is not used again."""
        ...
