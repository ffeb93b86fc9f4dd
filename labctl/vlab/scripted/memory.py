"""The RAM of the board: 128 MiB that read 0 until something is written."""

from __future__ import annotations

import zlib

BASE = 0x40000000
SIZE = 128 << 20
_PAGE = 4096
_EMPTY = bytes(_PAGE)


class AbortError(Exception):
    """An address where nothing is."""

    def __init__(self, address: int) -> None:
        super().__init__(f"{address:x}")
        self.address = address


class Memory:
    """RAM by address; only pages that were written take space."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def read(self, address: int, count: int) -> bytes:
        """Return ``count`` bytes.

        Raises:
            AbortError: Some of them are outside.
        """
        _check(address, count)
        out = bytearray()
        while len(out) < count:
            page, at = divmod(address + len(out), _PAGE)
            out += self._pages.get(page, _EMPTY)[at : at + count - len(out)]
        return bytes(out)

    def write(self, address: int, data: bytes) -> None:
        """Write ``data``.

        Raises:
            AbortError: Some of it would be outside.
        """
        _check(address, len(data))
        done = 0
        while done < len(data):
            page, at = divmod(address + done, _PAGE)
            piece = data[done : done + _PAGE - at]
            self._pages.setdefault(page, bytearray(_PAGE))[at : at + len(piece)] = piece
            done += len(piece)

    def crc32(self, address: int, count: int) -> int:
        """Return the CRC-32 (IEEE 802.3, as zlib's) of ``count`` bytes.

        Raises:
            AbortError: Some of them are outside.
        """
        _check(address, count)
        crc, end = 0, address + count
        while address < end:
            piece = min(end - address, 256 * _PAGE)
            crc = zlib.crc32(self.read(address, piece), crc)
            address += piece
        return crc


def _check(address: int, count: int) -> None:
    if address < BASE:
        raise AbortError(address)
    if address + count > BASE + SIZE:
        raise AbortError(max(address, BASE + SIZE))
