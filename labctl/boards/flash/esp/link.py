"""Into the loader of an ESP chip and its stub, at the highest rate that the cable holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from labctl.boards.flash.esp.port import LinePort
from labctl.boards.flash.method import FlashError
from labctl.boards.flash.rates import RateMemory
from labctl.boards.flash.signals import pulse
from labctl.errors import LabctlError
from labctl.report.sanitize import clean_line
from labctl.transport.lines.base import UnsupportedError

if TYPE_CHECKING:
    from labctl.boards.bench import Bench

# Loaders of all chips are found at this rate: ROMs that measure it have no preference.
BASE = 115200
_ENTERS = 3
_CHIP_DETECT = 0x40001000


class LinkError(Exception):
    """The conversation failed; it can be begun anew."""


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Turn what esptool raises where a conversation fails into `LinkError`."""
    from esptool.util import FatalError  # noqa: PLC0415 - slow, and an extra

    try:
        yield
    except (FatalError, OSError, RuntimeError) as error:
        if isinstance(error, LabctlError):
            raise
        raise LinkError(clean_line(str(error).partition("\n")[0])) from error


@cache
def silence() -> None:
    """Let esptool say nothing on the terminal: what matters is raised. Its logger is set once."""
    from esptool.logger import TemplateLogger, log  # noqa: PLC0415 - slow, and an extra

    class Silent(TemplateLogger):  # type: ignore[misc] # esptool has no types
        def print(self, *args: object, **kwargs: object) -> None:
            """Say nothing."""

        def note(self, message: str) -> None:
            """Say nothing."""

        def warning(self, message: str) -> None:
            """Say nothing."""

        def error(self, message: str) -> None:
            """Say nothing."""

        def stage(self, finish: bool = False) -> None:
            """Say nothing."""

        def progress_bar(self, *args: object, **kwargs: object) -> None:
            """Say nothing."""

        def set_verbosity(self, verbosity: str) -> None:
            """It stays silent."""

    log.set_logger(Silent())


class Link:
    """The conversation with a board's loader.

    Args:
        bench: The board; its line is leased.
        rates: Rates to try above 115200 baud.
        stub: Load esptool's stub into RAM: faster, and it knows more.

    Attributes:
        rate: The rate in use, baud.
        esp: esptool's object for the chip; None before `enter`.
    """

    def __init__(self, bench: Bench, *, rates: Sequence[int], stub: bool) -> None:
        self._bench = bench
        self._memory = RateMemory(bench.line.place.folder)
        self._rates = [*self._memory.to_try(rates, BASE), BASE]
        self._stub = stub
        self.rate = self._rates[0]
        self.esp: Any = None

    def enter(self) -> None:
        """Bring the board into its loader, at the highest rate that works.

        Raises:
            FlashError: It does not answer.
        """
        silence()
        why = ""
        for _ in range(_ENTERS):
            try:
                self._enter()
                if self._rise():
                    return
            except LinkError as error:
                why = str(error)
        while len(self._rates) > 1:
            self.step_down()
            with contextlib.suppress(LinkError):
                self._enter()
                if self._rise():
                    return
        raise FlashError(
            f"its loader does not answer: {why}", thing=self._bench.name,
            action="hold BOOT, press EN, and look at the wires; then run it again",
        )  # fmt: skip

    def _enter(self) -> None:
        from esptool.cmds import detect_chip  # noqa: PLC0415 - slow, and an extra

        self._bench.line.set_baud(BASE)
        self._bench.line.set_parity("none")
        with contextlib.suppress(UnsupportedError):
            pulse(self._bench, loader=True)
        port = LinePort(self._bench.line, self._bench.name)
        with failures():
            self.esp = detect_chip(port, BASE, connect_mode="no-reset", connect_attempts=1)
            # It has no USB identity, and is not to be looked for.
            self.esp.cache.update(usb_vid=0, usb_pid=0)
            if self._stub and not self.esp.IS_STUB:
                self.esp = self.esp.run_stub()

    def _rise(self) -> bool:
        """Go up to the rate that is next; return False where that does not hold."""
        if self.rate == BASE:
            return True
        try:
            with failures():
                self.esp.change_baud(self.rate)
                for _ in range(4):
                    self.esp.read_reg(_CHIP_DETECT, timeout=1.0)
        except LinkError:
            if len(self._rates) > 1:
                self.step_down()
            return False
        return True

    def step_down(self) -> None:
        """Leave the rate in use for the next lower one."""
        if len(self._rates) > 1:
            self._memory.forget(self._rates.pop(0))
            self.rate = self._rates[0]

    def held(self) -> None:
        """Note that the rate carried all that was sent."""
        if len(self._rates) > 1:
            self._memory.remember(self.rate)

    def give_up(self) -> None:
        """Leave the board with what it has, whatever it was doing; raises nothing."""
        self.esp = None
        with contextlib.suppress(LabctlError):
            self.leave()

    def leave(self) -> None:
        """Reset the board into its own program, and set the line as that talks.

        Raises:
            LabctlError: The line is gone.
        """
        settings = self._bench.model.line
        if not self._bench.model.reset_signals() and self.esp is not None:
            # The loader restarts the chip; with IO0 low still it comes back into the loader.
            with contextlib.suppress(LinkError), failures():
                self.esp.flash_begin(0, 0)
                self.esp.flash_finish(reboot=True, timeout=1.0)
        self._bench.line.set_baud(settings.baud)
        self._bench.line.set_parity(settings.parity)
        with contextlib.suppress(UnsupportedError):
            pulse(self._bench, loader=False)
