"""Into the ROM of an STM32, at the highest rate that the cable holds, and back when it is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from labctl.boards.flash.method import FlashError
from labctl.boards.flash.rates import RateMemory
from labctl.boards.flash.signals import pulse
from labctl.boards.flash.stm32.loader import LinkError, Loader
from labctl.errors import LabctlError
from labctl.transport.lines.base import UnsupportedError
from labctl.transport.lines.settings import Parity

if TYPE_CHECKING:
    from labctl.boards.bench import Bench

T = TypeVar("T")
# How often a lost conversation is begun anew before a rate is given up for a lower one.
_MOST_FAULTS = 3
_ENTERS = 2
# All of it: a line that fails so often at the lowest rate carries nothing.
_MOST_REPAIRS = 40


class Link:
    """The conversation with a board's ROM, begun anew as often as it takes.

    Args:
        bench: The board; its line is leased.
        base: Rate that surely works, baud.
        rates: Rates to try above it.
        parity: What the ROM talks with.
        readable: An address that may be read, to find out what the ROM takes.

    Attributes:
        rate: The rate in use, baud.
        repairs: How often something had to be done again.
    """

    def __init__(
        self, bench: Bench, *, base: int, rates: Sequence[int], parity: Parity, readable: int
    ) -> None:
        self._bench = bench
        self._memory = RateMemory(bench.line.place.folder)
        self._rates = [*self._memory.to_try(rates, base), base]
        self._parity = parity
        self._readable = readable
        self._faults = 0
        self._joined: bool | None = None
        self.repairs = 0
        self.rate = self._rates[0]
        self.loader = Loader(bench.line, self.rate)

    def enter(self) -> None:
        """Bring the board into its ROM, at the highest rate at which it answers.

        Raises:
            FlashError: It does not answer at any.
        """
        while True:
            why = ""
            for _ in range(_ENTERS):
                try:
                    self._enter_at(self.rate)
                except LinkError as error:
                    why = str(error)
                else:
                    return
            if len(self._rates) == 1:
                raise FlashError(
                    f"its boot loader does not answer: {why}", thing=self._bench.name,
                    action="give it power, set BOOT0 high, reset it, and look at the wires; then "
                    "run it again",
                )  # fmt: skip
            self._step_down()

    def _enter_at(self, rate: int) -> None:
        line = self._bench.line
        line.set_baud(rate)
        line.set_parity(self._parity)
        loader = Loader(line, rate)
        if self._reset_into_rom():
            loader.sync()
        else:
            # Nothing here resets it: it may have been talking at this rate before.
            try:
                loader.sync()
            except LinkError:
                loader.resync()
        loader.get()
        if self._joined is None:
            try:
                loader.try_joined(self._readable)
                self._joined = loader.joined
            except LinkError:
                loader.resync()
        loader.joined = bool(self._joined)
        self.loader = loader

    def _reset_into_rom(self) -> bool:
        try:
            return pulse(self._bench, loader=True)
        except UnsupportedError:
            return False

    def _step_down(self) -> None:
        self._memory.forget(self._rates.pop(0))
        self.rate = self._rates[0]
        self._faults = 0

    def held(self) -> None:
        """Note that the rate carried a whole image."""
        if self._faults == 0 and len(self._rates) > 1:
            self._memory.remember(self.rate)

    def repair(self, error: LinkError) -> None:
        """Begin the conversation anew after ``error``; at a lower rate if it happens often.

        Raises:
            FlashError: The board does not answer any more.
        """
        self.repairs += 1
        self._faults += 1
        if self.repairs > _MOST_REPAIRS:
            raise FlashError(
                f"the line fails again and again, at last: {error}", thing=self._bench.name,
                action="look at the cable and its ground, or choose a lower rate",
            )  # fmt: skip
        if self._faults > _MOST_FAULTS and len(self._rates) > 1:
            self._step_down()
            self.enter()
            return
        try:
            self.loader.resync()
        except LinkError:
            self.enter()

    def retry(self, what: Callable[[Loader], T], tries: int = 5) -> T:
        """Return what ``what`` returns, which may be done more than once.

        Raises:
            FlashError: It fails again and again.
        """
        while True:
            try:
                return what(self.loader)
            except LinkError as error:
                tries -= 1
                self.repair(error)
                if not tries:
                    raise FlashError(str(error), thing=self._bench.name) from None

    def leave(self) -> None:
        """Set the line as the board's own program talks; reset the board if it can be.

        Raises:
            LabctlError: The line is gone.
        """
        settings = self._bench.model.line
        self._bench.line.set_baud(settings.baud)
        self._bench.line.set_parity(settings.parity)
        with contextlib.suppress(UnsupportedError):
            pulse(self._bench, loader=False)

    def can_reset(self) -> bool:
        """Tell whether the board can be reset from here."""
        return bool(self._bench.model.reset_signals())

    def give_up(self) -> None:
        """Leave the board listening, whatever it was doing; raises nothing."""
        with contextlib.suppress(LinkError, LabctlError):
            if not self.can_reset():
                self.loader.resync()
        with contextlib.suppress(LabctlError):
            self.leave()
