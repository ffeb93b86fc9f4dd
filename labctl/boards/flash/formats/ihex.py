"""Intel HEX: bytes and addresses as text.

Source: Intel, "Hexadecimal Object File Format Specification", revision A, 1988 (record types 00 to
05; the checksum makes the sum of a record's bytes zero).
"""

from __future__ import annotations

import re
from pathlib import Path

from labctl.boards.flash.formats._bulk import data_run
from labctl.boards.flash.formats._records import Records, lines_of
from labctl.boards.flash.image import Image
from labctl.errors import UsageError

KIND = "ihex"
TITLE = "Intel HEX"
ORDER = 60

_FIRST = re.compile(rb"(?:\xef\xbb\xbf)?\s*:[0-9A-Fa-f]{10}")
_DATA, _END, _SEGMENT, _START_SEGMENT, _LINEAR, _START_LINEAR = range(6)
# Where no run of records begins, so many are read one by one before it is tried again.
_ALONE = 32
# Bytes of data that a record of these types has.
_LENGTHS = {_END: 0, _SEGMENT: 2, _START_SEGMENT: 4, _LINEAR: 2, _START_LINEAR: 4}
# What an Intel HEX file is called; one that is cut off in its first record is still one.
_NAMES = (".hex", ".ihex", ".ihx")


def detect(head: bytes, name: str) -> bool:
    """Tell whether the file is of this kind."""
    named = name.lower().endswith(_NAMES) and head.lstrip()[:1] == b":"
    return named or _FIRST.match(head) is not None


def read(data: bytes, path: Path) -> Image:
    """Read it.

    Raises:
        UsageError: It is damaged; the line is named.
    """
    records = Records(path, TITLE)
    lines = lines_of(data.removeprefix(b"\xef\xbb\xbf"))
    base, wraps = 0, False
    entry: int | None = None
    ended = number = alone = 0
    while number < len(lines):
        record = lines[number].strip()
        number += 1
        if not record:
            continue
        if ended:
            raise records.damaged(number, f"there is more after the end record in line {ended}")
        raw = _raw(records, number, record)
        kind, offset = raw[3], raw[1] << 8 | raw[2]
        if kind == _DATA:
            if number >= alone:
                count, run = data_run(lines, number - 1, raw[0], offset)
                if count:
                    records.add(number, base + offset, run)
                    number += count - 1
                    continue
                alone = number + _ALONE
            _add(records, number, raw, base, wraps)
            continue
        value = _value(records, number, raw)
        if kind == _END:
            ended = number
        elif kind in (_SEGMENT, _LINEAR):
            wraps = kind == _SEGMENT
            base = value << (4 if wraps else 16)
        else:
            entry = value if kind == _START_LINEAR else ((value >> 16) << 4) + (value & 0xFFFF)
    if not ended:
        raise records.damaged(number, "it ends without an end record (':00000001FF'); it was cut")
    segments = records.segments()
    if not segments:
        raise UsageError(
            "this Intel HEX has no data", thing=str(path), action="build or copy it again"
        )
    return Image(path, KIND, segments, True, None, None, entry)


def _raw(records: Records, number: int, record: str) -> bytes:
    """Return the bytes of a record that is right in itself."""
    try:
        raw = bytes.fromhex(record[1:])
    except ValueError:
        raw = b""
    # fromhex allows blanks; a record has none.
    if (
        len(raw) < 5
        or record[0] != ":"
        or len(raw) != raw[0] + 5
        or len(record) != 2 * len(raw) + 1
        or sum(raw) & 0xFF
    ):
        raise _mistake(records, number, record)
    return raw


def _add(records: Records, number: int, raw: bytes, base: int, wraps: bool) -> None:
    """Add the data of one record.

    In 8086 addressing, an offset wraps around within its segment; in linear addressing only the
    address of 32 bits could.
    """
    offset = raw[1] << 8 | raw[2]
    end = offset + raw[0]
    if end > 0x10000 and wraps:
        cut = 0x10000 - offset
        records.add(number, base + offset, raw[4 : 4 + cut])
        records.add(number, base, raw[4 + cut : -1])
    elif base + end > 1 << 32:
        raise records.damaged(number, "its data reaches beyond the last address")
    else:
        records.add(number, base + offset, raw[4:-1])


def _value(records: Records, number: int, raw: bytes) -> int:
    """Return the number that a record of another type than data has."""
    kind = raw[3]
    if kind not in _LENGTHS:
        raise records.damaged(number, f"there is no record type {kind:02X}")
    if raw[0] != _LENGTHS[kind]:
        raise records.damaged(
            number, f"a record of type {kind:02X} has {_LENGTHS[kind]} bytes, not {raw[0]}"
        )
    return int.from_bytes(raw[4:-1], "big")


def _mistake(records: Records, number: int, record: str) -> UsageError:
    """Return what is wrong with a record."""
    if record[0] != ":":
        return records.damaged(number, "a record begins with ':'")
    if not re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", record[1:]):
        return records.damaged(number, "a record has pairs of hexadecimal digits after ':'")
    raw = bytes.fromhex(record[1:])
    if len(raw) < 5 or len(raw) != raw[0] + 5:
        return records.damaged(
            number, f"the record has {len(raw)} bytes where its length says {raw[0] + 5}"
        )
    good = -sum(raw[:-1]) & 0xFF
    return records.damaged(number, f"the checksum is {raw[-1]:02X}, it should be {good:02X}")
