"""The boot loader in the ROM of an STM32, as AN3155 describes it for a USART.

Not played: writing option bytes by Write Memory (its address is refused), the Special commands,
Get Checksum. As on the chip, nothing here has a time-out: a byte that got lost leaves it waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import xor
from typing import TYPE_CHECKING

from labctl.vlab.rom.program import Program, Read, Restart, Spend, Write

if TYPE_CHECKING:
    from labctl.vlab.rom.stm32 import Stm32

SYNC, ACK, NACK = 0x7F, b"\x79", b"\x1f"
# What is answered while the readout protection is on (AN3155, table 2, note 2).
_WHILE_PROTECTED = frozenset({0x00, 0x01, 0x02, 0x92})


def checksum(data: bytes) -> int:
    """Return the XOR of all bytes (AN3155, chapter 3, communication safety)."""
    return reduce(xor, data, 0)


class Stm32Rom:
    """The ROM of one chip."""

    def __init__(self, chip: Stm32) -> None:
        self._chip = chip
        self._data = chip.chip
        self._handlers: dict[int, Callable[[], Program]] = {
            0x00: self._get,
            0x01: self._version,
            0x02: self._id,
            0x11: self._read,
            0x21: self._go,
            0x31: self._write,
            0x43: self._erase,
            0x44: self._extended_erase,
            0x63: self._write_protect,
            0x73: self._write_unprotect,
            0x82: self._readout_protect,
            0x92: self._readout_unprotect,
        }

    def run(self) -> Program:
        """Measure the rate, then serve commands for ever."""
        while (yield Read(1))[0] != SYNC:
            pass
        self._chip.uart.measure(most=self._data["max_baud"])
        yield Write(ACK)
        while True:
            command, complement = yield Read(2)
            known = command in self._data["commands"] and command ^ complement == 0xFF
            if not known or (self._chip.protected and command not in _WHILE_PROTECTED):
                yield Write(NACK)
                continue
            if self._chip.answer_s:
                yield Spend(self._chip.answer_s)
            yield Write(ACK)
            yield from self._handlers[command]()

    def _get(self) -> Program:
        commands = bytes(self._data["commands"])
        yield Write(bytes([len(commands), self._data["protocol"]]) + commands + ACK)

    def _version(self) -> Program:
        yield Write(bytes([self._data["protocol"], 0, 0]) + ACK)

    def _id(self) -> Program:
        yield Write(b"\x01" + self._data["pid"].to_bytes(2, "big") + ACK)

    def _address(self, fits: Callable[[int], bool]) -> Program:
        """Take an address; leaves it in ``_at``, None where it was refused."""
        data = yield Read(5)
        address = int.from_bytes(data[:4], "big")
        good = checksum(data) == 0 and fits(address)
        yield Write(ACK if good else NACK)
        self._at = address if good else None

    def _read(self) -> Program:
        yield from self._address(self._chip.is_readable)
        if self._at is None:
            return
        count, complement = yield Read(2)
        if count ^ complement != 0xFF:
            yield Write(NACK)
            return
        yield Write(ACK + self._chip.peek(self._at, count + 1))

    def _go(self) -> Program:
        yield from self._address(lambda at: self._chip.is_flash(at) or self._chip.is_ram(at))
        if self._at is not None:
            yield from self._chip.application(self._at)

    def _write(self) -> Program:
        yield from self._address(lambda at: self._chip.is_flash(at) or self._chip.is_ram(at))
        if self._at is None:
            return
        count = yield Read(1)
        rest = yield Read(count[0] + 2)
        data = rest[:-1]
        if checksum(count + rest) or self._at % 4 or len(data) % 4:
            yield Write(NACK)
            return
        if self._chip.is_ram(self._at):
            offset = self._at - self._data["ram"][0]
            room = len(self._chip.ram) - offset
            self._chip.ram[offset : offset + min(room, len(data))] = data[:room]
        else:
            offset = self._at - self._data["flash"]
            data = data[: self._chip.flash.size - offset]
            # "No error is returned when performing write operations on write protected sectors."
            if not self._locked(self._chip.flash.sectors_in(offset, len(data))):
                yield from self._chip.flash.program(offset, data)
        yield Write(ACK)

    def _locked(self, sectors: range) -> bool:
        group = self._data["protect_sectors"]
        return any(number // group in self._chip.locked for number in sectors)

    def _erase(self) -> Program:
        count = (yield Read(1))[0]
        if count == 0xFF:
            if (yield Read(1))[0] != 0:
                yield Write(NACK)
                return
            yield from self._erase_all()
            return
        rest = yield Read(count + 2)
        if checksum(rest) != count:
            yield Write(NACK)
            return
        yield from self._erase_sectors(list(rest[:-1]))

    def _extended_erase(self) -> Program:
        head = yield Read(2)
        count = int.from_bytes(head, "big")
        if count >= 0xFFF0:
            # 0xFFFE and 0xFFFD are banks 1 and 2, of chips that have two; the rest is reserved.
            if (yield Read(1))[0] != checksum(head) or count != 0xFFFF:
                yield Write(NACK)
                return
            yield from self._erase_all()
            return
        rest = yield Read(2 * (count + 1) + 1)
        if checksum(head + rest):
            yield Write(NACK)
            return
        numbers = [int.from_bytes(rest[at : at + 2], "big") for at in range(0, len(rest) - 1, 2)]
        yield from self._erase_sectors(numbers)

    def _erase_sectors(self, numbers: list[int]) -> Program:
        if any(number >= len(self._chip.flash.sectors) for number in numbers):
            yield Write(NACK)
            return
        for number in numbers:
            if self._locked(range(number, number + 1)):
                continue
            size = self._chip.flash.sectors[number]
            start = self._chip.flash.start_of(number)
            yield from self._chip.flash.erase(start, size, self._data["erase_s"][size])
        yield Write(ACK)

    def _erase_all(self) -> Program:
        yield from self._mass_erase()
        yield Write(ACK)

    def _mass_erase(self) -> Program:
        if not self._chip.locked:
            seconds = sum(self._data["erase_s"][size] for size in self._chip.flash.sectors)
            yield from self._chip.flash.erase(0, self._chip.flash.size, seconds / 2)

    def _write_protect(self) -> Program:
        count = yield Read(1)
        rest = yield Read(count[0] + 2)
        if checksum(count + rest):
            yield Write(NACK)
            return
        # "The total number of sectors and the sector number to be protected are not checked", and
        # a second command undoes what the first one protected.
        self._chip.keep_options(protected=self._chip.protected, locked=frozenset(rest[:-1]))
        yield Write(ACK)
        yield Restart()

    def _write_unprotect(self) -> Program:
        self._chip.keep_options(protected=self._chip.protected, locked=frozenset())
        yield Write(ACK)
        yield Restart()

    def _readout_protect(self) -> Program:
        self._chip.keep_options(protected=True, locked=self._chip.locked)
        yield Write(ACK)
        yield Restart()

    def _readout_unprotect(self) -> Program:
        # The erase comes first: a chip cut off in the middle is still protected.
        self._chip.keep_options(protected=True, locked=frozenset())
        yield from self._mass_erase()
        self._chip.clear_ram()
        self._chip.keep_options(protected=False, locked=frozenset())
        yield Write(ACK)
        yield Restart()
