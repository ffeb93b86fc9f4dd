"""Images of whole disks: with a GPT, with an MBR, ISO 9660.

Sources: UEFI Specification 2.10, chapter 5 (MBR, GPT and its CRC32s); ECMA-119, 8.1 ("CD001" in
sector 16).
"""

from __future__ import annotations

import zlib
from pathlib import Path

from labctl.boards.flash.formats._view import View
from labctl.boards.flash.image import Image, Segment

KIND = "disk"
TITLE = "disk image"
ORDER = 50

_GPT = b"EFI PART"
_SECTORS = (512, 4096)
_MBR_AT, _MBR_MARK = 446, b"\x55\xaa"
_ISO_AT, _ISO = 0x8001, b"CD001"
_LARGEST_TABLE = 1 << 20


def detect(head: bytes, name: str) -> bool:
    """Tell whether the file is of this kind."""
    return (
        any(head[one : one + 8] == _GPT for one in _SECTORS)
        or bool(_mbr(head))
        or head[_ISO_AT : _ISO_AT + 5] == _ISO
    )


def read(data: bytes, path: Path) -> Image:
    """Read it; all of it is written.

    Raises:
        UsageError: It was cut, or its table of partitions is damaged.
    """
    file = View(data, path, TITLE)
    sector = next((one for one in _SECTORS if data[one : one + 8] == _GPT), 0)
    if sector:
        about = _gpt(file, sector)
    elif found := _mbr(data):
        for number, begin, size in found:
            if 512 * (begin + size) > len(data):
                raise file.damaged(
                    f"partition {number} ends at {512 * (begin + size):,} bytes, the file has "
                    f"{len(data):,}; it was cut"
                )
        about = f"MBR, partitions: {len(found)}"
    else:
        about = "ISO 9660"
    return Image(path, KIND, (Segment(0, data),), about=about)


def _mbr(data: bytes) -> list[tuple[int, int, int]]:
    """Return number, first sector and sectors of each partition; none if this is no MBR.

    The first sector of a FAT file system ends like an MBR, but has code where the table would be.
    """
    if data[510:512] != _MBR_MARK:
        return []
    found = []
    for index in range(4):
        entry = data[_MBR_AT + 16 * index :][:16]
        begin, size = (int.from_bytes(entry[n : n + 4], "little") for n in (8, 12))
        if entry[0] not in (0, 0x80) or (entry[4] and not (begin and size)):
            return []
        if entry[4]:
            found.append((index + 1, begin, size))
    return found


def _gpt(file: View, sector: int) -> str:
    size = file.number(sector + 12, 4, "GPT")
    if not 92 <= size <= sector:
        raise file.damaged(f"its GPT has a header of {size} bytes")
    header = bytearray(file.take(sector, size, "GPT"))
    header[16:20] = bytes(4)
    if zlib.crc32(header) != file.number(sector + 16, 4, "GPT"):
        raise file.damaged("the checksum of its GPT is wrong")
    last = sector * (file.number(sector + 32, 8, "GPT") + 1)
    if last > len(file):
        raise file.damaged(f"it has {len(file):,} bytes of {last:,}; it was cut")
    table = file.number(sector + 72, 8, "GPT")
    count, entry = file.number(sector + 80, 4, "GPT"), file.number(sector + 84, 4, "GPT")
    if count * entry > _LARGEST_TABLE or entry < 128:
        raise file.damaged(f"its GPT has {count} entries of {entry} bytes")
    entries = file.take(table * sector, count * entry, "GPT")
    if zlib.crc32(entries) != file.number(sector + 88, 4, "GPT"):
        raise file.damaged("the checksum of its table of partitions is wrong")
    used = sum(any(entries[n * entry : n * entry + 16]) for n in range(count))
    return f"GPT, partitions: {used}"
