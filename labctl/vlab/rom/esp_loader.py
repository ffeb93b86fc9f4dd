"""The serial loader of an ESP32: the one in its ROM, and esptool's stub in its RAM.

No code of the stub is executed: a program that is loaded into RAM and holds the stub's greeting is
taken for it, and its commands are played here. Sources: Espressif, "Serial Protocol" (in esptool's
documentation); RFC 1055 (SLIP); what esptool 4 and 5 send and expect.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Generator
from functools import reduce
from operator import xor
from typing import TYPE_CHECKING

from labctl.vlab.rom.program import Program, Read, Restart, Spend, Step, Write
from labctl.vlab.rom.uart import Format

if TYPE_CHECKING:
    from labctl.vlab.rom.esp32 import Esp32

_END, _ESC, _ESC_END, _ESC_ESC = 0xC0, b"\xdb", b"\xdb\xdc", b"\xdb\xdd"
_GREETING = b"OHAI"
_CHECKSUM_SEED = 0xEF
_SYNC = b"\x07\x07\x12\x20" + b"\x55" * 32
_SYNC_ANSWERS, _SYNC_VALUE = 8, 0x20120707
# The longest frame: a block of 16 KiB, each byte escaped.
_LONGEST = 2 * 0x4000 + 256
# The stub receives a block while it writes the one before.
_STUB_FIFO = 2 * _LONGEST
_MD5_S_PER_BYTE = 1e-7
# Between the answer to a change of the rate and the change.
_SETTLE_S = 0.002

# Reasons, in the ROM and in the stub.
_INVALID, _BAD_CHECKSUM, _BAD_INFLATE, _TOO_MUCH, _NOT_BEGUN = range(5)
_ROM_REASONS = {
    _INVALID: 0x05, _BAD_CHECKSUM: 0x07, _BAD_INFLATE: 0x0B, _TOO_MUCH: 0x06, _NOT_BEGUN: 0x06,
}  # fmt: skip
_STUB_REASONS = {
    _INVALID: 0xC3, _BAD_CHECKSUM: 0xC1, _BAD_INFLATE: 0xC7, _TOO_MUCH: 0xC9, _NOT_BEGUN: 0xC6,
}  # fmt: skip


class _RefusedError(Exception):
    """A command that is answered with a reason."""

    def __init__(self, reason: int) -> None:
        super().__init__(reason)
        self.reason = reason


class EspLoader:
    """One conversation, from the reset on."""

    def __init__(self, chip: Esp32) -> None:
        self._chip = chip
        self._stub = False
        self._at = self._end = self._erased = 0
        self._writing = False
        self._inflate: zlib._Decompress | None = None
        self._loading = 0
        self._handlers: dict[int, Callable[[bytes, int], Program]] = {
            0x02: self._flash_begin,
            0x03: self._flash_data,
            0x04: self._flash_end,
            0x05: self._mem_begin,
            0x06: self._mem_end,
            0x07: self._mem_data,
            0x08: self._sync,
            0x09: self._write_reg,
            0x0A: self._read_reg,
            0x0B: self._nothing,  # SPI_SET_PARAMS
            0x0D: self._nothing,  # SPI_ATTACH
            0x0E: self._read_flash_slow,
            0x0F: self._change_baudrate,
            0x10: self._defl_begin,
            0x11: self._defl_data,
            0x12: self._flash_end,
            0x13: self._md5,
        }
        self._stub_handlers: dict[int, Callable[[bytes, int], Program]] = {
            0xD0: self._erase_flash,
            0xD1: self._erase_region,
            0xD2: self._read_flash,
        }

    # -- frames ------------------------------------------------------------------------------

    def run(self) -> Program:
        """Measure the rate, then serve commands for ever."""
        self._chip.uart.format = Format(0, "none")
        while True:
            frame = yield from self._frame()
            if not self._chip.uart.format.baud:
                if frame[8:] != _SYNC:
                    continue
                self._chip.uart.measure(most=self._chip.chip["max_baud"])
            if len(frame) < 8 or frame[0] != 0:
                continue
            self._op = frame[1]
            size, checksum = struct.unpack("<HI", frame[2:8])
            data = frame[8:]
            handler = self._handlers.get(self._op)
            if self._stub:
                handler = self._stub_handlers.get(self._op, handler)
            try:
                if handler is None or len(data) != size:
                    raise _RefusedError(_INVALID)
                yield from handler(data, checksum)
            except _RefusedError as refused:
                reasons = _STUB_REASONS if self._stub else _ROM_REASONS
                yield from self._answer(status=(1, reasons[refused.reason]))
            except struct.error:
                yield from self._answer(status=(1, _ROM_REASONS[_INVALID]))

    def _frame(self) -> Generator[Step, bytes, bytes]:
        """Return the next frame that is not empty."""
        while True:
            raw = yield Read(_LONGEST, until=_END)
            data = raw.rstrip(bytes([_END]))
            if data:
                return data.replace(_ESC_END, bytes([_END])).replace(_ESC_ESC, _ESC)

    def _send(self, data: bytes) -> Program:
        end = bytes([_END])
        yield Write(end + data.replace(_ESC, _ESC_ESC).replace(end, _ESC_END) + end)

    def _answer(
        self, value: int = 0, body: bytes = b"", *, status: tuple[int, int] = (0, 0)
    ) -> Program:
        body += bytes(status) + (b"" if self._stub else b"\0\0")
        yield from self._send(struct.pack("<BBHI", 1, self._op, len(body), value) + body)

    # -- simple ones -------------------------------------------------------------------------

    def _nothing(self, data: bytes, checksum: int) -> Program:
        yield from self._answer()

    def _sync(self, data: bytes, checksum: int) -> Program:
        for _ in range(_SYNC_ANSWERS):
            yield from self._answer(0 if self._stub else _SYNC_VALUE)

    def _read_reg(self, data: bytes, checksum: int) -> Program:
        yield from self._answer(self._chip.read_register(*struct.unpack("<I", data)))

    def _write_reg(self, data: bytes, checksum: int) -> Program:
        for begin in range(0, len(data), 16):
            address, value, mask, _ = struct.unpack("<IIII", data[begin : begin + 16])
            old = self._chip.read_register(address)
            self._chip.write_register(address, (old & ~mask) | (value & mask))
        yield from self._answer()

    def _change_baudrate(self, data: bytes, checksum: int) -> Program:
        rate, _ = struct.unpack("<II", data)
        yield from self._answer()
        # The answer goes out at the old rate.
        yield Spend(_SETTLE_S + 20 * 10 / (self._chip.uart.format.baud or rate))
        self._chip.uart.format = Format(min(rate, self._chip.chip["max_baud"]), "none")

    # -- RAM ---------------------------------------------------------------------------------

    def _mem_begin(self, data: bytes, checksum: int) -> Program:
        self._loading = struct.unpack("<IIII", data)[3]
        self._chip.ram[self._loading] = b""
        yield from self._answer()

    def _mem_data(self, data: bytes, checksum: int) -> Program:
        self._chip.ram[self._loading] += self._block(data, checksum)
        yield from self._answer()

    def _mem_end(self, data: bytes, checksum: int) -> Program:
        _, entry = struct.unpack("<II", data)
        yield from self._answer()
        if entry and any(_GREETING in code for code in self._chip.ram.values()):
            self._stub = True
            self._chip.uart.fifo = _STUB_FIFO
            yield from self._send(_GREETING)
        elif entry:
            while True:
                yield Read(1)  # a program that is not played

    def _block(self, data: bytes, checksum: int) -> bytes:
        """Return what a block carries.

        Raises:
            _RefusedError: It is damaged.
        """
        size = struct.unpack("<IIII", data[:16])[0]
        block = data[16:]
        if len(block) != size or reduce(xor, block, _CHECKSUM_SEED) != checksum:
            raise _RefusedError(_BAD_CHECKSUM)
        return block

    # -- flash -------------------------------------------------------------------------------

    def _begin(self, data: bytes) -> Program:
        size, _, _, offset = struct.unpack("<IIII", data[:16])
        self._at = self._erased = offset
        self._end = offset + size
        self._writing = True
        if not self._stub:
            # The ROM erases at once, the stub as it writes.
            yield from self._chip.erase(offset, size)
            self._erased = -(-self._end // 0x1000) * 0x1000

    def _flash_begin(self, data: bytes, checksum: int) -> Program:
        self._inflate = None
        yield from self._begin(data)
        yield from self._answer()

    def _defl_begin(self, data: bytes, checksum: int) -> Program:
        self._inflate = zlib.decompressobj()
        yield from self._begin(data)
        yield from self._answer()

    def _flash_data(self, data: bytes, checksum: int) -> Program:
        block = self._block(data, checksum)
        # Blocks of the ROM are whole ones: what is behind the image is filled up by the host.
        yield from self._take(block if self._stub else block[: max(0, self._room())])

    def _defl_data(self, data: bytes, checksum: int) -> Program:
        block = self._block(data, checksum)
        if self._inflate is None:
            raise _RefusedError(_NOT_BEGUN)
        try:
            plain = self._inflate.decompress(block)
        except zlib.error:
            raise _RefusedError(_BAD_INFLATE) from None
        yield from self._take(plain)

    def _room(self) -> int:
        return min(-(-self._end // 0x1000) * 0x1000, self._chip.flash.size) - self._at

    def _take(self, data: bytes) -> Program:
        if not self._writing:
            raise _RefusedError(_NOT_BEGUN)
        if len(data) > self._room():
            raise _RefusedError(_TOO_MUCH)
        if self._stub:
            # It answers, and writes while the next block comes.
            yield from self._answer()
        at, self._at = self._at, self._at + len(data)
        if self._at > self._erased:
            begin, self._erased = self._erased, -(-self._at // 0x1000) * 0x1000
            if self._erased % 0x10000 and self._end - self._erased >= 0x10000:
                self._erased = -(-self._erased // 0x10000) * 0x10000
            yield from self._chip.erase(begin, self._erased - begin)
        for begin in range(0, len(data), 0x1000):
            yield from self._chip.flash.program(at + begin, data[begin : begin + 0x1000])
        if not self._stub:
            yield from self._answer()

    def _flash_end(self, data: bytes, checksum: int) -> Program:
        stay = struct.unpack("<I", data)[0]
        self._writing = False
        yield from self._answer()
        if not stay:
            yield Restart()
        if not self._stub:
            yield from self._chip.application()

    def _md5(self, data: bytes, checksum: int) -> Program:
        offset, size, _, _ = struct.unpack("<IIII", data)
        digest = hashlib.md5(self._chip.flash.read(offset, size), usedforsecurity=False)
        yield Spend(size * _MD5_S_PER_BYTE)
        body = digest.digest() if self._stub else digest.hexdigest().encode()
        yield from self._answer(body=body)

    def _read_flash_slow(self, data: bytes, checksum: int) -> Program:
        offset, size = struct.unpack("<II", data)
        if size > 64:
            raise _RefusedError(_INVALID)
        yield from self._answer(body=self._chip.flash.read(offset, size).ljust(64, b"\0"))

    def _erase_flash(self, data: bytes, checksum: int) -> Program:
        yield from self._chip.erase(0, self._chip.flash.size)
        yield from self._answer()

    def _erase_region(self, data: bytes, checksum: int) -> Program:
        offset, size = struct.unpack("<II", data)
        yield from self._chip.erase(offset, size)
        yield from self._answer()

    def _read_flash(self, data: bytes, checksum: int) -> Program:
        offset, size, block, ahead = struct.unpack("<IIII", data)
        yield from self._answer()
        whole = self._chip.flash.read(offset, size)
        sent = acknowledged = 0
        while acknowledged < size:
            while sent < size and sent - acknowledged < block * ahead:
                yield from self._send(whole[sent : sent + block])
                sent += block
            answer = yield from self._frame()
            acknowledged = int.from_bytes(answer[:4], "little")
        yield from self._send(hashlib.md5(whole, usedforsecurity=False).digest())
