"""A simulated STM32: its memory, its option bytes, and what runs after a reset.

Sources: AN2606 (boot pins), AN3155 (what the ROM does; see `stm32_rom`), the reference manuals
named in the chip's file.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labctl.errors import UsageError
from labctl.fileio import write_atomic
from labctl.vlab.rom.nor import ERASED, Nor
from labctl.vlab.rom.program import Program, Read, Spend, Write
from labctl.vlab.rom.stm32_rom import Stm32Rom
from labctl.vlab.rom.uart import Format, Uart

# How the simulated application talks.
_APPLICATION = Format(115200, "none")
# From the reset to its first word, seconds: a host that started it can set its own end meanwhile.
_START_S = 0.02


class Stm32:
    """One chip.

    Args:
        chip: Its file (`labctl.vlab.rom.chip`).
        folder: Where flash and option bytes are kept; None keeps them in memory only.
        uart: Its serial port.
        serial: Makes its unique device ID: another number, another ID.
        scale: Factor on the times of its flash.

    Attributes:
        boot0: Level of its BOOT0 pin at the next reset.
        in_rom: It runs its boot loader.
        protected: Its readout protection is on.
        locked: Sectors (or groups of pages) that are write protected.
        answer_s: Seconds from a command to its ACK, in which the ROM hears nothing.
    """

    answer_s = 0.0

    def __init__(
        self,
        chip: Mapping[str, Any],
        folder: Path | None,
        uart: Uart,
        *,
        serial: int = 1,
        scale: float = 1.0,
    ) -> None:
        self.chip = chip
        self.uart = uart
        self.boot0 = False
        self.in_rom = False
        sizes = [size for count, size in chip["sectors"] for _ in range(count)]
        self.flash = Nor(
            None if folder is None else folder / "flash.bin", sizes,
            unit=chip["unit"], overwrite=chip["overwrite"], byte_s=chip["byte_s"], scale=scale,
        )  # fmt: skip
        self.ram = bytearray(chip["ram"][1])
        self.uid = (0x3130_3247_0000_0000_0000_0000 + serial).to_bytes(12, "big")
        self._options = None if folder is None else folder / "options.json"
        self.protected = False
        self.locked: frozenset[int] = frozenset()
        if self._options is not None and self._options.exists():
            kept = json.loads(self._options.read_text())
            self.protected, self.locked = kept["protected"], frozenset(kept["locked"])

    def keep_options(self, *, protected: bool, locked: frozenset[int]) -> None:
        """Set the option bytes."""
        self.protected, self.locked = protected, locked
        if self._options is not None:
            write_atomic(
                self._options, json.dumps({"protected": protected, "locked": sorted(locked)})
            )

    def boot(self) -> Program:
        """Return what runs after a reset: the ROM with BOOT0 high, the application otherwise."""
        self.in_rom = self.boot0
        if self.boot0:
            self.uart.format = Format(0, "even")
            return Stm32Rom(self).run()
        return self.application(self.chip["flash"])

    def application(self, address: int) -> Program:
        """Play the program whose vector table is at ``address``: it greets if it is one."""
        self.in_rom = False
        self.uart.format = _APPLICATION
        stack = int.from_bytes(self.peek(address, 4), "little")
        start = int.from_bytes(self.peek(address + 4, 4), "little")
        base, size = self.chip["ram"]
        # The stack grows down from at most the end of RAM; a Thumb address is odd.
        if base < stack <= base + size and start % 2 and self.is_flash(start - 1):
            offset = address - self.chip["flash"]
            program = self.flash.read(offset, self.flash.size - offset).rstrip(bytes([ERASED]))
            program += bytes([ERASED]) * (-len(program) % 4)
            text = (
                f"simulated {self.chip['about']}: program {len(program)} bytes, "
                f"crc32 {zlib.crc32(program):08x}\r\n"
            )
            yield Spend(_START_S)
            yield Write(text.encode())
        while True:
            yield Read(1)  # it says no more

    def set_pin(self, name: str, high: bool) -> None:
        """Set the level of ``boot0``."""
        if name != "boot0":
            raise UsageError("there is no such pin", thing=name, action="it has boot0")
        self.boot0 = high

    def state(self) -> Mapping[str, object]:
        """Return what it runs, and its option bytes."""
        return {
            "chip": self.chip["about"],
            "in_rom": self.in_rom,
            "boot0": self.boot0,
            "baud": self.uart.format.baud,
            "protected": self.protected,
            "locked": sorted(self.locked),
        }

    # -- memory ------------------------------------------------------------------------------

    def is_flash(self, address: int) -> bool:
        """Tell whether ``address`` is in the flash."""
        return bool(self.chip["flash"] <= address < self.chip["flash"] + self.flash.size)

    def is_ram(self, address: int) -> bool:
        """Tell whether ``address`` is in that part of the RAM that the ROM leaves alone."""
        base, size = self.chip["ram"]
        return bool(base + self.chip["ram_used"] <= address < base + size)

    def is_readable(self, address: int) -> bool:
        """Tell whether the ROM takes ``address`` for Read Memory."""
        others = [self.chip[name] for name in ("system", "otp", "options") if self.chip[name]]
        return (
            self.is_flash(address)
            or self.is_ram(address)
            or any(base <= address < base + size for base, size in others)
        )

    def peek(self, address: int, size: int) -> bytes:
        """Return ``size`` bytes of memory; what is not there reads as zero."""
        if self.is_flash(address):
            found = self.flash.read(address - self.chip["flash"], size)
            return found + bytes(size - len(found))
        base, length = self.chip["ram"]
        if base <= address < base + length:
            found = bytes(self.ram[address - base :][:size])
            return found + bytes(size - len(found))
        special = bytearray(size)
        for at, data in self._registers().items():
            for number, byte in enumerate(data):
                if 0 <= at + number - address < size:
                    special[at + number - address] = byte
        return bytes(special)

    def _registers(self) -> dict[int, bytes]:
        at, version = self.chip["bootloader_id"]
        return {
            self.chip["uid"]: self.uid,
            self.chip["size_register"]: (self.flash.size >> 10).to_bytes(2, "little"),
            at: bytes([version]),
            # RDP level 0 is 0xAA on these families, any other value is protected.
            self.chip["options"][0]: bytes([0xBB if self.protected else 0xAA]),
        }

    def clear_ram(self) -> None:
        """Forget what is in RAM, as without power."""
        self.ram[:] = bytes(len(self.ram))
