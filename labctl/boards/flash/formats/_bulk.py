"""Many Intel HEX data records of one length at once, column by column.

A record by itself costs a microsecond, whatever is done about it; a file of 16 MiB has a million of
them. Nearly all belong to runs of equal length that follow each other, so these are checked by
slices with a stride and by sums of long integers, which take the time of a copy. What does not fit
exactly is left to be read record by record, where mistakes are named.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

# Fewer are not worth it.
_FEWEST = 16
# Length, address (two bytes), type, checksum: what a record has besides its data.
_FRAME = 5


def data_run(lines: Sequence[str], at: int, length: int, offset: int) -> tuple[int, bytes]:
    """Return how many data records from line ``at`` on follow each other, and their data.

    Args:
        lines: Lines of the file.
        at: The first; it is known to be a data record.
        length: Bytes of data that it has.
        offset: Its address within its 64 KiB, which the run does not leave.

    Returns:
        ``(0, b"")`` where there is no such run.
    """
    width = len(lines[at])
    count = min((0x10000 - offset) // max(length, 1), len(lines) - at) if length else 0
    while count >= _FEWEST:
        if len(lines[at + count - 1]) == width:
            data = _columns("".join(lines[at : at + count]), count, width, length, offset)
            if data is not None:
                return count, data
        count //= 2
    return 0, b""


def _columns(text: str, count: int, width: int, length: int, offset: int) -> bytes | None:
    """Return the data of ``count`` records of ``width`` characters; None if one is not right."""
    size = length + _FRAME
    if len(text) != count * width or text[::width] != ":" * count or text.count(":") != count:
        return None
    try:
        raw = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        return None
    # A blank within a record would be passed over, and leave it too short.
    if len(raw) != count * size or width - 2 * size not in (1, 2):
        return None
    addresses = struct.pack(f">{count}H", *range(offset, offset + count * length, length))
    right = (
        raw[::size] == bytes([length]) * count
        and raw[1::size] == addresses[::2]
        and raw[2::size] == addresses[1::2]
        and raw[3::size] == bytes(count)
    )
    if not right or any(_sums(raw, count, size)):
        return None
    data = bytearray(count * length)
    for column in range(length):
        data[column::length] = raw[column + _FRAME - 1 :: size]
    return bytes(data)


def _sums(raw: bytes, count: int, size: int) -> bytes:
    """Return the sum of each record's bytes, modulo 256.

    Each has 16 bits of a long integer, which is room for the sum of 257 bytes.
    """
    total = 0
    for first in range(0, size, 256):
        part = 0
        for column in range(first, min(first + 256, size)):
            wide = bytearray(2 * count)
            wide[::2] = raw[column::size]
            part += int.from_bytes(wide, "little")
        low = bytearray(2 * count)
        low[::2] = part.to_bytes(2 * count, "little")[::2]
        total += int.from_bytes(low, "little")
    return total.to_bytes(2 * count, "little")[::2]
