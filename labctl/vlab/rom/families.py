"""The families of chips: how one is made, and what its pins are wired to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from labctl.vlab.rom.board import Board, Chip
from labctl.vlab.rom.chip import load_chip
from labctl.vlab.rom.settings import Settings
from labctl.vlab.rom.stm32 import Stm32
from labctl.vlab.rom.uart import Format, Uart

# RM0390 and RM0008: one data register. Technical Reference Manual of the ESP32: 128 bytes.
FIFOS = {"stm32": 1, "esp": 128}


def make_chip(settings: Settings, folder: Path | None, host: Callable[[], Format]) -> Chip:
    """Return the chip of ``settings``; ``host`` says how the host has set its end of the line.

    Raises:
        UsageError: There is no such chip.
    """
    data = load_chip(settings.chip)
    return Stm32(data, folder, Uart(host), serial=settings.serial, scale=settings.flash_time)


class Stm32Wiring:
    """An adapter wired to an STM32 as stm32loader expects it by default.

    DTR to NRST, RTS to BOOT0, without inverters: an asserted output is an electrical low.
    """

    def __init__(self, board: Board) -> None:
        self._board = board

    def set(self, dtr: bool | None, rts: bool | None) -> None:
        """Take a change of the outputs."""
        if rts is not None:
            self._board.chip.set_pin("boot0", not rts)
        if dtr is not None:
            self._board.hold(dtr)


WIRINGS: dict[str, Callable[[Board], Stm32Wiring]] = {"stm32": Stm32Wiring}
