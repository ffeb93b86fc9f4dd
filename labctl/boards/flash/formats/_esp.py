"""The image of one program for an Espressif chip, and the table of partitions.

Sources: esptool documentation, "Firmware Image Format"; ESP-IDF, esp_app_format.h
(``esp_image_header_t``, ``esp_chip_id_t``), esp_app_desc.h (0xABCD5432), and "Partition Tables"
(entries of 32 bytes, 0x50AA, MD5 entry 0xEBEB, 0xC00 bytes at most).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise

from labctl.boards.flash.formats._view import View, text

MAGIC = 0xE9
PARTITION_MAGIC = b"\xaa\x50"
TABLE_OFFSET = 0x8000
TABLE_SIZE = 0xC00
_MD5_MAGIC = b"\xeb\xeb" + b"\xff" * 14
_SEED = 0xEF
_DESCRIPTION = 0xABCD5432
CHIPS = {
    0: ("esp32", "xtensa"),
    2: ("esp32s2", "xtensa"),
    5: ("esp32c3", "riscv32"),
    9: ("esp32s3", "xtensa"),
    12: ("esp32c2", "riscv32"),
    13: ("esp32c6", "riscv32"),
    16: ("esp32h2", "riscv32"),
    18: ("esp32p4", "riscv32"),
    20: ("esp32c61", "riscv32"),
    23: ("esp32c5", "riscv32"),
    25: ("esp32h21", "riscv32"),
    28: ("esp32h4", "riscv32"),
}


@dataclass(frozen=True)
class Program:
    """What an image says of itself."""

    chip: str
    architecture: str | None
    entry: int
    about: str


@dataclass(frozen=True)
class Partition:
    """One entry of a table of partitions; type 0 is a program."""

    name: str
    kind: int
    offset: int
    size: int


def read_program(file: View, at: int = 0) -> Program:
    """Read the image of a program that begins ``at`` there.

    Raises:
        UsageError: It is damaged.
    """
    header = file.take(at, 24, "header")
    number = int.from_bytes(header[12:14], "little")
    entry = int.from_bytes(header[4:8], "little")
    # An ESP8266's has no extended header: its first segment begins there, with an address of the
    # chip's RAM (0x40100000) or of its data (0x3FFE8000), so the bytes that say how the pins are
    # driven tell it apart.
    old = header[11] in (0x40, 0x3F)
    if old:
        chip, architecture, begin = "esp8266", "xtensa", at + 8
    else:
        chip, architecture = CHIPS.get(number, (f"esp-chip-{number}", ""))
        begin = at + 24
    checksum, place, first = _SEED, begin, -1
    for index in range(header[1]):
        what = f"segment {index}"
        size = file.number(place + 4, 4, what)
        checksum ^= _xor(file.take(place + 8, size, what))
        first = place + 8 if first < 0 else first
        place += 8 + size
    # The checksum is the last byte of a block of 16.
    place += 15 - (place - at) % 16
    if file.number(place, 1, "checksum") != checksum:
        raise file.damaged(f"its checksum at {place:#x} is wrong, it should be {checksum:02x}")
    end = place + 1
    if not old and header[23] == 1:
        digest = hashlib.sha256(file.data[at:end]).digest()
        if file.take(end, 32, "SHA-256") != digest:
            raise file.damaged("its SHA-256 is wrong")
    return Program(chip, architecture or None, entry, _describe(file, first))


def _describe(file: View, at: int) -> str:
    """Return name and version from the description with which a program's first segment begins."""
    raw = file.data[max(at, 0) : max(at, 0) + 256]
    if len(raw) < 256 or int.from_bytes(raw[:4], "little") != _DESCRIPTION:
        return ""
    name, version, idf = text(raw[48:80]), text(raw[16:48]), text(raw[112:144])
    return f"{name} {version}, ESP-IDF {idf}".strip()


def _xor(data: bytes) -> int:
    """Return the exclusive or of all bytes, by halves and not byte by byte."""
    size = 1
    while size < len(data):
        size *= 2
    value = int.from_bytes(data, "little")
    while size > 1:
        size //= 2
        value = (value >> 8 * size) ^ (value & ((1 << 8 * size) - 1))
    return value


def read_table(file: View, at: int = 0) -> list[Partition]:
    """Read the table of partitions that begins ``at`` there.

    Raises:
        UsageError: It is damaged.
    """
    found: list[Partition] = []
    end = min(at + TABLE_SIZE, len(file))
    place = at
    while place + 32 <= end:
        entry = file.data[place : place + 32]
        if entry == b"\xff" * 32:
            break
        if entry[:16] == _MD5_MAGIC:
            digest = hashlib.md5(file.data[at:place], usedforsecurity=False).digest()
            if entry[16:] != digest:
                raise file.damaged("the MD5 of its table of partitions is wrong")
        elif entry[:2] == PARTITION_MAGIC:
            offset, size = (int.from_bytes(entry[n : n + 4], "little") for n in (4, 8))
            found.append(Partition(text(entry[12:28]), entry[2], offset, size))
        else:
            raise file.damaged(f"the entry at {place:#x} of its table of partitions is none")
        place += 32
    if not found:
        raise file.damaged("its table of partitions is empty")
    ordered = sorted(found, key=lambda one: one.offset)
    for one, after in pairwise(ordered):
        if one.offset + one.size > after.offset:
            raise file.damaged(f"its partitions '{one.name}' and '{after.name}' overlap")
    return found
