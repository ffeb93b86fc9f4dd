"""The families of chips: how one is made, and what its pins are wired to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from labctl.vlab.rom.board import Board, Chip
from labctl.vlab.rom.chip import load_chip
from labctl.vlab.rom.esp32 import Esp32
from labctl.vlab.rom.settings import Settings
from labctl.vlab.rom.stm32 import Stm32
from labctl.vlab.rom.uart import Format, Uart

# RM0390 and RM0008: one data register. Technical Reference Manual of the ESP32: 128 bytes.
_FIFOS = {"stm32": 1, "esp": 128}
_CHIPS: dict[str, type[Stm32 | Esp32]] = {"stm32": Stm32, "esp": Esp32}
# From the moment that EN is let go until it is high: a capacitor of 1 uF at 10 kOhm on modules.
_EN_RISES_S = 0.02


class Wiring(Protocol):
    """What an adapter's outputs are wired to."""

    def set(self, dtr: bool | None, rts: bool | None) -> None:
        """Take a change of the outputs; None is none. True is asserted, an electrical low."""


def make_chip(settings: Settings, folder: Path | None, host: Callable[[], Format]) -> Chip:
    """Return the chip of ``settings``; ``host`` says how the host has set its end of the line.

    Raises:
        UsageError: There is no such chip.
    """
    data = load_chip(settings.chip)
    uart = Uart(host, fifo=_FIFOS[data["family"]])
    return _CHIPS[data["family"]](
        data, folder, uart, serial=settings.serial, scale=settings.flash_time
    )


class Stm32Wiring:
    """An adapter wired to an STM32 as stm32loader expects it by default.

    DTR to NRST, RTS to BOOT0, without inverters.
    """

    def __init__(self, board: Board) -> None:
        self._board = board

    def set(self, dtr: bool | None, rts: bool | None) -> None:
        """Take a change of the outputs."""
        if rts is not None:
            self._board.chip.set_pin("boot0", not rts)
        if dtr is not None:
            self._board.hold(dtr)


class EspWiring:
    """The two transistors of Espressif's boards, behind an adapter that changes both at once.

    RTS alone pulls EN (reset) low, DTR alone pulls IO0 (boot mode) low, both together neither.
    A host that sets one after the other passes through "both", which on a board lets EN go before
    IO0 is low; over RFC 2217, where that takes long, esptool's ``esp_rfc2217_server`` helps, and
    this does as it: "both" is passed over.
    Source: esptool's documentation, Automatic Bootloader, Remote Serial Ports.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._dtr = self._rts = False
        self._en_low = False

    def set(self, dtr: bool | None, rts: bool | None) -> None:
        """Take a change of the outputs."""
        self._dtr = self._dtr if dtr is None else dtr
        self._rts = self._rts if rts is None else rts
        if self._dtr and self._rts:
            return
        self._board.chip.set_pin("io0", not self._dtr)
        if self._rts:
            self._en_low = True
            self._board.hold(True)
        elif self._en_low:
            self._en_low = False
            self._board.later(_EN_RISES_S, self._risen)

    def _risen(self) -> None:
        if not self._en_low:
            self._board.hold(False)


WIRINGS: dict[str, Callable[[Board], Wiring]] = {"stm32": Stm32Wiring, "esp": EspWiring}
