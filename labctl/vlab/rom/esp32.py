"""A simulated ESP32: its flash, its registers, and what runs after a reset.

Sources: ESP32 Technical Reference Manual (eFuse, UART, strapping pins), esptool's documentation
(Boot Mode Selection, Boot Log, Firmware Image Format).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labctl.errors import UsageError
from labctl.vlab.rom.esp_loader import EspLoader
from labctl.vlab.rom.nor import Nor
from labctl.vlab.rom.program import Program, Read, Spend, Write
from labctl.vlab.rom.uart import Format, Uart

SECTOR, BLOCK = 0x1000, 0x10000
_CONSOLE = Format(115200, "none")
_BOOTLOADER_AT, _PROGRAM_AT = 0x1000, 0x10000
_MAGIC, _CHECKSUM_SEED = 0xE9, 0xEF
_START_S = 0.02

_CHIP_DETECT, _EFUSE, _UART_CLKDIV, _APB_DATE = 0x40001000, 0x3FF5A000, 0x3FF40014, 0x3FF6607C
_SPI = 0x3FF42000
_SPI_USER2, _SPI_W0, _SPI_RUN = _SPI + 0x24, _SPI + 0x80, 1 << 18
_CRYSTAL_HZ = 40_000_000
_READ_ID, _READ_STATUS = 0x9F, (0x05, 0x35, 0x15)


class Esp32:
    """One chip.

    Args:
        chip: Its file (`labctl.vlab.rom.chip`).
        folder: Where its flash is kept; None keeps it in memory only.
        uart: Its serial port.
        serial: Makes its MAC address: another number, another address.
        scale: Factor on the times of its flash.

    Attributes:
        io0: Level of its IO0 pin at the next reset.
        in_rom: It runs its loader, in ROM or in RAM.
        ram: What was loaded into RAM, by address.
    """

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
        self._fifo = uart.fifo
        self.io0 = True
        self.in_rom = False
        self.ram: dict[int, bytes] = {}
        path = None if folder is None else folder / "flash.bin"
        new = path is None or not path.exists()
        count = chip["flash_size"] // SECTOR
        self.flash = Nor(path, [SECTOR] * count, byte_s=chip["byte_s"], scale=scale)
        if new:
            # Modules come with a boot loader; this one is a header that `application` knows.
            for _ in self.flash.program(_BOOTLOADER_AT, image([(0x40080400, b"boot")])):
                pass
        self.mac = chip["mac_prefix"].to_bytes(3, "big") + (serial & 0xFFFFFF).to_bytes(3, "big")
        self._registers: dict[int, int] = {}

    def boot(self) -> Program:
        """Return what runs after a reset: the loader with IO0 low, the program otherwise."""
        self.uart.format = _CONSOLE
        self.uart.fifo = self._fifo
        self.ram.clear()
        self._registers.clear()
        self.in_rom = not self.io0
        return self._download() if self.in_rom else self.application()

    def _download(self) -> Program:
        yield Write(
            (
                f"{self.chip['banner']}rst:0x1 (POWERON_RESET),boot:0x3 "
                "(DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))\r\nwaiting for download\r\n"
            ).encode()
        )
        yield from EspLoader(self).run()

    def application(self) -> Program:
        """Play what is in the flash: boot loader and program, as far as headers tell."""
        self.in_rom = False
        self.uart.format = _CONSOLE
        yield Write(
            f"{self.chip['banner']}rst:0x1 (POWERON_RESET),boot:0x13 "
            "(SPI_FAST_FLASH_BOOT)\r\n".encode()
        )
        yield Spend(_START_S)
        if image_length(self.flash.read(_BOOTLOADER_AT, _PROGRAM_AT - _BOOTLOADER_AT)) is None:
            head = int.from_bytes(self.flash.read(_BOOTLOADER_AT, 4), "little")
            yield Write(f"invalid header: {head:#010x}\r\n".encode())
        else:
            room = self.flash.read(_PROGRAM_AT, self.flash.size - _PROGRAM_AT)
            length = image_length(room)
            if length is None:
                yield Write(b"E (31) boot: No bootable app partitions in the partition table\r\n")
            else:
                yield Write(
                    f"simulated {self.chip['about']}: program {length} bytes, "
                    f"crc32 {zlib.crc32(room[:length]):08x}\r\n".encode()
                )
        while True:
            yield Read(1)  # it says no more

    # -- registers ---------------------------------------------------------------------------

    def read_register(self, address: int) -> int:
        """Return a register; one that is not played is what was written to it, or 0."""
        if address == _CHIP_DETECT:
            return int(self.chip["magic"])
        if address == _UART_CLKDIV:
            return _CRYSTAL_HZ // (self.uart.format.baud or _CONSOLE.baud)
        if address == _APB_DATE:
            return int(self.chip["apb_date"])
        if _EFUSE <= address < _EFUSE + 0x80:
            return self._efuse((address - _EFUSE) // 4)
        return self._registers.get(address, 0)

    def _efuse(self, word: int) -> int:
        if word == 1:
            return int.from_bytes(self.mac[2:], "big")
        if word == 2:
            return int.from_bytes(self.mac[:2], "big")
        return int(self.chip["efuse"].get(word, 0))

    def write_register(self, address: int, value: int) -> None:
        """Set a register; setting the SPI controller going runs a command of the flash."""
        if address == _SPI and value & _SPI_RUN:
            command = self._registers.get(_SPI_USER2, 0) & 0xFF
            answer = self.chip["flash_id"] if command == _READ_ID else 0
            self._registers[_SPI_W0] = 0 if command in _READ_STATUS else answer
            value &= ~_SPI_RUN
        self._registers[address] = value

    # -- the rest ----------------------------------------------------------------------------

    def erase(self, offset: int, size: int) -> Program:
        """Erase whole sectors, whole blocks of 64 KiB at once where they fit."""
        at, end = offset // SECTOR * SECTOR, min(-(-(offset + size) // SECTOR) * SECTOR,
                                                self.flash.size)  # fmt: skip
        while at < end:
            whole = at % BLOCK == 0 and at + BLOCK <= end
            seconds = self.chip["block_erase_s" if whole else "sector_erase_s"]
            yield from self.flash.erase(at, BLOCK if whole else SECTOR, seconds)
            at += BLOCK if whole else SECTOR

    def set_pin(self, name: str, high: bool) -> None:
        """Set the level of ``io0``."""
        if name != "io0":
            raise UsageError("there is no such pin", thing=name, action="it has io0")
        self.io0 = high

    def clear_ram(self) -> None:
        """Forget what is in RAM, as without power."""
        self.ram.clear()

    def state(self) -> Mapping[str, object]:
        """Return what it runs."""
        return {
            "chip": self.chip["about"],
            "mac": self.mac.hex(":"),
            "in_rom": self.in_rom,
            "io0": self.io0,
            "baud": self.uart.format.baud,
        }


def image(segments: list[tuple[int, bytes]], *, chip_id: int = 0, entry: int = 0x40080400) -> bytes:
    """Return a firmware image of ``segments`` (address and bytes, a multiple of 4 of them).

    Source: esptool's documentation, Firmware Image Format.
    """
    head = struct.pack("<BBBBI", _MAGIC, len(segments), 2, 0x20, entry)
    head += struct.pack("<B3sHBHH4sB", 0xEE, b"\0\0\0", chip_id, 0, 0, 0xFFFF, b"\0\0\0\0", 0)
    body, total = b"", _CHECKSUM_SEED
    for address, data in segments:
        body += struct.pack("<II", address, len(data)) + data
        for byte in data:
            total ^= byte
    padding = 15 - (len(head) + len(body)) % 16
    return head + body + bytes(padding) + bytes([total])


def image_length(data: bytes) -> int | None:
    """Return how many bytes the firmware image at the beginning of ``data`` has.

    None where there is none, or its checksum is wrong.
    """
    if len(data) < 24 or data[0] != _MAGIC:
        return None
    at, total = 24, _CHECKSUM_SEED
    for _ in range(data[1]):
        if at + 8 > len(data):
            return None
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size
        if at > len(data):
            return None
        total ^= _xor(data[at - size : at])
    at += 16 - at % 16
    if at > len(data) or data[at - 1] != total:
        return None
    return at + (32 if data[23] else 0)


def _xor(data: bytes) -> int:
    """Return the XOR of all bytes, by halving: a program has a million of them."""
    while len(data) > 64:
        half = (len(data) + 1) // 2
        first, second = int.from_bytes(data[:half]), int.from_bytes(data[half:].ljust(half, b"\0"))
        data = (first ^ second).to_bytes(half)
    total = 0
    for byte in data:
        total ^= byte
    return total
