"""Motorola S-records: bytes and addresses as text.

Source: Motorola, M68000 Family Programmer's Reference Manual, appendix C (S0 to S9; the checksum is
the ones' complement of the sum of count, address and data), and srec(5) of Debian's ``srecord``.
"""

from __future__ import annotations

import re
from pathlib import Path

from labctl.boards.flash.formats._records import Records, lines_of
from labctl.boards.flash.formats._view import text
from labctl.boards.flash.image import Image
from labctl.errors import UsageError

KIND = "srec"
TITLE = "S-record file"
ORDER = 61

_FIRST = re.compile(rb"(?:\xef\xbb\xbf)?\s*S[0-9][0-9A-Fa-f]{6}")
# Bytes of the address, by type; S4 is reserved.
_ADDRESS = {"0": 2, "1": 2, "2": 3, "3": 4, "5": 2, "6": 3, "7": 4, "8": 3, "9": 2}
_COUNTS, _ENDS = "56", "789"


def detect(head: bytes, name: str) -> bool:
    """Tell whether the file is of this kind."""
    return _FIRST.match(head) is not None


def read(data: bytes, path: Path) -> Image:
    """Read it.

    Raises:
        UsageError: It is damaged; the line is named.
    """
    records = Records(path, TITLE)
    about = ""
    entry: int | None = None
    ended = counted = 0
    count = 0
    number = 0
    fromhex = bytes.fromhex
    for number, line in enumerate(lines_of(data.removeprefix(b"\xef\xbb\xbf")), 1):
        record = line.strip()
        if not record:
            continue
        if ended:
            raise records.damaged(number, f"there is more after the end record in line {ended}")
        try:
            raw = fromhex(record[2:])
        except ValueError:
            raw = b""
        kind = record[1:2]
        width = _ADDRESS.get(kind, 0)
        if (
            record[0] != "S"
            or not width
            or len(raw) < width + 2
            or len(raw) != raw[0] + 1
            or len(record) != 2 * len(raw) + 2
            or sum(raw) & 0xFF != 0xFF
        ):
            raise _mistake(records, number, record)
        address = int.from_bytes(raw[1 : 1 + width], "big")
        if kind in "123":
            count += 1
            counted = 0
            records.add(number, address, raw[1 + width : -1])
        elif kind in _COUNTS and address != count & (0xFFFF if kind == "5" else 0xFFFFFF):
            raise records.damaged(
                number, f"it says that {address} data records came before; there are {count}"
            )
        elif kind in _COUNTS:
            counted = number
        elif kind in _ENDS:
            ended, entry = number, address
        elif kind == "0":
            about = text(raw[3:-1])
    # Some programs write no end record, but a count of what they wrote.
    if not ended and not counted:
        raise records.damaged(number, "it ends without an end record (S7, S8 or S9); it was cut")
    segments = records.segments()
    if not segments:
        raise UsageError(
            "this S-record file has no data", thing=str(path), action="build or copy it again"
        )
    return Image(path, KIND, segments, True, None, None, entry, about)


def _mistake(records: Records, number: int, record: str) -> UsageError:
    """Return what is wrong with a record."""
    if not re.match(r"S[0-9]", record):
        return records.damaged(number, "a record begins with 'S' and a digit")
    if record[1] not in _ADDRESS:
        return records.damaged(number, f"there is no record type S{record[1]}")
    if not re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", record[2:]):
        return records.damaged(number, "a record has pairs of hexadecimal digits after its type")
    raw = bytes.fromhex(record[2:])
    if len(raw) < _ADDRESS[record[1]] + 2 or len(raw) != raw[0] + 1:
        return records.damaged(
            number, f"the record has {len(raw)} bytes where its length says {raw[0] + 1}"
        )
    good = ~sum(raw[:-1]) & 0xFF
    return records.damaged(number, f"the checksum is {raw[-1]:02X}, it should be {good:02X}")
