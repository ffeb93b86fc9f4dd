"""UF2: blocks of 512 bytes that a boot loader takes in any order.

Sources: Microsoft, "USB Flashing Format (UF2)", https://github.com/microsoft/uf2 (README.md and
utils/uf2families.json); RP2350 datasheet, "UF2 targeting rules" and erratum E10.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from labctl.boards.flash.formats._uf2_families import ABSOLUTE, E10_ADDRESS, FAMILIES, NO_CHIP
from labctl.boards.flash.formats._view import View, text
from labctl.boards.flash.image import Image, Segment, join

KIND = "uf2"
TITLE = "UF2"
ORDER = 11

_BLOCK = 512
_MAGIC0, _MAGIC1, _MAGIC_END = 0x0A324655, 0x9E5D5157, 0x0AB16F30
_MOST_DATA = 476
_MD5_SIZE = 24
_NOT_FLASH, _FILE, _FAMILY, _MD5, _TAGS = 0x1, 0x1000, 0x2000, 0x4000, 0x8000
# Extension tags: what they are called, for those that are text.
_TEXT_TAGS = {0x9FC7BC: "version", 0x650D9D: "device"}

_Sum = tuple[int, int, bytes]


class _Block(NamedTuple):
    """One block."""

    flags: int
    address: int
    data: bytes
    number: int
    total: int
    family: int | None
    sum: _Sum | None
    tags: tuple[tuple[str, str], ...]


def detect(head: bytes, name: str) -> bool:
    """Tell whether the file is of this kind."""
    return head.startswith(b"UF2\n\x57\x51\x5d\x9e")


def read(data: bytes, path: Path) -> Image:
    """Read what it writes to the main flash.

    Raises:
        UsageError: It is damaged or not complete, or is for several chips.
    """
    file = View(data, path, TITLE)
    if len(data) % _BLOCK:
        raise file.damaged(f"its size, {len(data)} bytes, is no multiple of {_BLOCK}; it was cut")
    blocks = [_block(file, index) for index in range(len(data) // _BLOCK)]
    # The boot ROM of the RP2350 takes this block and ignores it (erratum E10).
    if len(blocks) > 1 and (blocks[0].address, blocks[0].family) == (E10_ADDRESS, ABSOLUTE):
        del blocks[0]
    _complete(file, blocks)
    wanted = [one for one in blocks if not one.flags & (_NOT_FLASH | _FILE)]
    try:
        segments = join(Segment(one.address, one.data) for one in wanted)
    except ValueError as error:
        raise file.damaged(str(error)) from None
    if not segments:
        raise file.wrong("it has nothing for the main flash", "give the UF2 of the program")
    families = {one.family for one in wanted if one.family is not None} - NO_CHIP
    if len(families) > 1:
        names = ", ".join(sorted(_name(one) for one in families))
        raise file.wrong(
            f"this UF2 is for several chips ({names})", "give the UF2 for the chip of the board"
        )
    _check_sums(file, segments, {one.sum for one in wanted if one.sum is not None})
    chip, architecture = None, None
    for family in families:
        chip, architecture = FAMILIES.get(family, (_name(family), None))
    about = dict(tag for one in wanted for tag in one.tags)
    words = ", ".join(f"{key} {value}" for key, value in sorted(about.items()))
    return Image(path, KIND, segments, True, architecture, chip, None, words)


def _block(file: View, index: int) -> _Block:
    raw = file.take(index * _BLOCK, _BLOCK, f"block {index}")
    magic0, magic1, flags, address, size, number, total, family = struct.unpack_from("<8I", raw)
    if (magic0, magic1, struct.unpack_from("<I", raw, 508)[0]) != (_MAGIC0, _MAGIC1, _MAGIC_END):
        raise file.damaged(f"block {index} has not the marks of a UF2 block")
    if size > _MOST_DATA or address + size > 1 << 32:
        raise file.damaged(f"block {index} says it has {size} bytes at {address:#x}")
    digest = None
    if flags & _MD5:
        digest = struct.unpack_from("<II16s", raw, 32 + _MOST_DATA - _MD5_SIZE)
        if not digest[1] and size <= _MOST_DATA - _MD5_SIZE:
            # The specification has it at the end; esptool writes it right behind the data.
            digest = struct.unpack_from("<II16s", raw, 32 + size)
    tags = tuple(_tags(file, raw, size)) if flags & _TAGS else ()
    return _Block(
        flags, address, raw[32 : 32 + size], number, total,
        family if flags & _FAMILY else None, digest, tags,
    )  # fmt: skip


def _name(family: int) -> str:
    return FAMILIES[family][0] if family in FAMILIES else f"family-{family:08x}"


def _complete(file: View, blocks: Sequence[_Block]) -> None:
    """Raise unless every block is there once; they are counted for each family by itself."""
    seen: dict[int | None, tuple[int, set[int]]] = {}
    for one in blocks:
        total, numbers = seen.setdefault(one.family, (one.total, set()))
        if one.total != total or one.number >= total:
            raise file.damaged(
                f"a block is number {one.number} of {one.total}, where others say {total}"
            )
        if one.number in numbers:
            raise file.damaged(f"block number {one.number} is there twice")
        numbers.add(one.number)
    for total, numbers in seen.values():
        if len(numbers) != total:
            # Not range(total): a damaged file may say four thousand millions.
            first = next(n for n in range(len(numbers) + 1) if n not in numbers)
            raise file.damaged(
                f"{total - len(numbers)} of its {total} blocks are missing, the first is {first}"
            )


def _tags(file: View, raw: bytes, size: int) -> Iterator[tuple[str, str]]:
    """Yield the extension tags that are text: each has a length, a number of three bytes, data."""
    at, end = 32 + (size + 3) // 4 * 4, 32 + _MOST_DATA
    while at + 4 <= end and raw[at]:
        length, tag = raw[at], int.from_bytes(raw[at + 1 : at + 4], "little")
        if length < 4 or at + length > end:
            raise file.damaged(f"an extension tag of {length} bytes does not fit its block")
        if tag in _TEXT_TAGS:
            yield _TEXT_TAGS[tag], text(raw[at + 4 : at + length])
        at += (length + 3) // 4 * 4


def _check_sums(file: View, segments: tuple[Segment, ...], sums: set[_Sum]) -> None:
    """Check the MD5 of the parts that the file gives one for; gaps within them cannot be."""
    for start, length, digest in sorted(sums):
        for one in segments:
            if one.address <= start and start + length <= one.end:
                piece = one.data[start - one.address : start - one.address + length]
                if hashlib.md5(piece, usedforsecurity=False).digest() != digest:
                    raise file.damaged(f"the MD5 of its {length} bytes at {start:#x} is wrong")
