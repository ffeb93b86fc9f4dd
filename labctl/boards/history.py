"""What a board said before: by time, since its last boot, by pattern, or played again."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from labctl.boards.owner.journal import read_journal
from labctl.boards.owner.log import LogReader, Piece
from labctl.boards.owner.place import Place
from labctl.errors import UsageError

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)")
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# What a line without newline is cut into, so that a flood takes no memory.
_LINE_BYTES = 64 << 10
# A boot is looked for this far back.
_LOOK_BACK = 64 << 20
_POWER_EVENTS = ("power", "reset")


@dataclass(frozen=True)
class Line:
    """One line of a board's output.

    Attributes:
        time_ns: When its first byte arrived, nanoseconds since the epoch.
        offset: Offset of its first byte in the record.
        data: Its bytes, without the newline.
    """

    time_ns: int
    offset: int
    data: bytes


def lines(pieces: Iterable[Piece]) -> Iterator[Line]:
    """Join pieces of the record and cut them into lines."""
    rest = b""
    begin, when = 0, 0
    for piece in pieces:
        offset, data = piece.offset, piece.data
        if not rest:
            begin, when = offset, piece.time_ns
        while data:
            head, newline, tail = data.partition(b"\n")
            if not newline and len(rest) + len(head) < _LINE_BYTES:
                rest += head
                break
            taken = rest + head
            yield Line(when, begin, taken.removesuffix(b"\r"))
            offset += len(head) + len(newline)
            rest, data = b"", tail
            begin, when = offset, piece.time_ns
    if rest:
        yield Line(when, begin, rest.removesuffix(b"\r"))


def offset_since(place: Place, since: str, boots: Iterable[re.Pattern[bytes]]) -> int:
    """Return the offset in the record that ``since`` names.

    Args:
        place: Folder of the line.
        since: ``boot``, an age such as ``10m`` (s, m, h, d), or a time in ISO 8601.
        boots: Patterns that show that the board was just reset.

    Raises:
        UsageError: It is neither.
    """
    record = LogReader(place.log)
    if since == "boot":
        return _last_boot(place, record, boots)
    age = _AGE.fullmatch(since.strip())
    if age:
        seconds = float(age.group(1)) * _UNITS_S[age.group(2)]
        return record.offset_at(time.time_ns() - int(seconds * 1e9))
    try:
        moment = datetime.datetime.fromisoformat(since)
    except ValueError:
        raise UsageError(
            f"'{since}' is no time", thing="--since",
            action="write 'boot', an age such as 10m or 2h, or a time such as 2026-01-31T12:00",
        ) from None  # fmt: skip
    return record.offset_at(int(moment.astimezone().timestamp() * 1e9))


def _last_boot(place: Place, record: LogReader, boots: Iterable[re.Pattern[bytes]]) -> int:
    found = record.begin
    for entry in read_journal(place.events):
        if entry["event"] in _POWER_EVENTS and entry.get("action") != "off":
            found = max(found, min(int(entry["offset"]), record.end))
    begin = max(found, record.end - _LOOK_BACK)
    patterns = list(boots)
    for line in lines(record.pieces(begin)):
        # A boot has several such lines (SPL, boot loader); the first of them is its beginning.
        if any(pattern.search(line.data) for pattern in patterns) and line.offset > found + 4096:
            found = line.offset
    return found


def matching(source: Iterable[Line], pattern: re.Pattern[bytes] | None) -> Iterator[Line]:
    """Yield the lines in which ``pattern`` is found; all of them where there is none."""
    return (line for line in source if pattern is None or pattern.search(line.data))


def replay(
    pieces: Iterable[Piece],
    show: Callable[[bytes], None],
    *,
    speed: float = 1.0,
    longest_s: float = 5.0,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Show ``pieces`` at the pace at which they came.

    Args:
        pieces: What came.
        show: Gets the bytes.
        speed: 2 is twice as fast.
        longest_s: Pauses are cut to so many seconds.
        pause: Waits for that many seconds.
    """
    last: int | None = None
    for piece in pieces:
        if last is not None and piece.time_ns > last:
            pause(min((piece.time_ns - last) / 1e9 / speed, longest_s))
        last = piece.time_ns
        show(piece.data)
