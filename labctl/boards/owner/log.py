"""The record of a line: every byte, with its time, in segments that are dropped from the front.

A segment is two files named after the offset of its first byte: ``N.raw`` holds the bytes as they
came, ``N.idx`` says when: records of two big-endian 64-bit numbers, the offset and the time
(nanoseconds since the epoch) from which on the bytes that follow arrived. Offsets count all bytes
since the line was first opened and never start again.

Readers need no help of the writer: they open the files and follow them.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SEGMENT_BYTES = 16 << 20
KEEP_BYTES = 256 << 20
# Bytes that follow each other more closely than this share one time.
RESOLUTION_NS = 1_000_000
_RECORD = struct.Struct(">QQ")
_DIGITS = 20  # of 2**64 - 1


class LogWriter:
    """Appends to the record; one writer at a time (the owner holds a lock).

    Args:
        folder: Folder of the segments; it must exist.
        segment_bytes: Begin a new segment when one has this size.
        keep_bytes: Drop the oldest segments beyond this size in all.
        mode: Permission bits of new files.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        keep_bytes: int = KEEP_BYTES,
        mode: int = 0o600,
    ) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._keep_bytes = keep_bytes
        self._mode = mode
        self._last_time: int | None = None
        starts = segments(folder)
        self._start = starts[-1] if starts else 0
        self._open()

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        raw, index = paths(self._folder, self._start)
        self._raw = os.open(raw, flags, self._mode)
        self._index = os.open(index, flags, self._mode)
        self.end = self._start + os.fstat(self._raw).st_size
        # Killed in mid record: the index is cut back to whole ones.
        size = os.fstat(self._index).st_size
        if size % _RECORD.size:
            os.ftruncate(self._index, size - size % _RECORD.size)

    def append(self, data: bytes, now_ns: int) -> None:
        """Append ``data``, which arrived at ``now_ns`` (nanoseconds since the epoch).

        Raises:
            OSError: The disk is full, or the folder has gone; what was not written is lost.
        """
        if self.end - self._start >= self._segment_bytes:
            self._rotate()
        last = self._last_time
        # A clock that was set back counts too.
        if last is None or now_ns - last >= RESOLUTION_NS or now_ns < last:
            os.write(self._index, _RECORD.pack(self.end, now_ns))
            self._last_time = now_ns
        view = memoryview(data)
        while view:
            count = os.write(self._raw, view)
            self.end += count
            view = view[count:]

    def _rotate(self) -> None:
        self.close()
        self._start = self.end
        self._last_time = None
        self._open()
        starts = segments(self._folder)
        while len(starts) > 1 and self.end - starts[1] >= self._keep_bytes:
            for path in paths(self._folder, starts.pop(0)):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files."""
        os.close(self._raw)
        os.close(self._index)


def segments(folder: Path) -> list[int]:
    """Return the offsets at which segments begin, ascending."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            name, _, kind = entry.name.partition(".")
            if kind == "raw" and name.isdigit():
                found.append(int(name))
    return sorted(found)


def paths(folder: Path, start: int) -> tuple[Path, Path]:
    """Return the files (bytes, times) of the segment that begins at ``start``."""
    stem = f"{start:0{_DIGITS}d}"
    return folder / f"{stem}.raw", folder / f"{stem}.idx"


@dataclass(frozen=True)
class Piece:
    """Bytes that arrived together.

    Attributes:
        offset: Offset of the first.
        time_ns: When they arrived, nanoseconds since the epoch.
        data: The bytes.
    """

    offset: int
    time_ns: int
    data: bytes


class LogReader:
    """Reads the record, also while it is being written.

    Args:
        folder: Folder of the segments.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def begin(self) -> int:
        """Offset of the oldest byte that is still there."""
        starts = segments(self._folder)
        return starts[0] if starts else 0

    @property
    def end(self) -> int:
        """Offset after the newest byte."""
        starts = segments(self._folder)
        return starts[-1] + _size(paths(self._folder, starts[-1])[0]) if starts else 0

    def read(self, offset: int, limit: int = 1 << 20) -> bytes:
        """Return at most ``limit`` bytes from ``offset`` on; empty at the end.

        What was dropped from the front is passed over: the oldest bytes come instead.
        """
        starts = segments(self._folder)
        if not starts:
            return b""
        offset = max(offset, starts[0])
        start = starts[bisect.bisect_right(starts, offset) - 1]
        try:
            with paths(self._folder, start)[0].open("rb") as stream:
                stream.seek(offset - start)
                data = stream.read(limit)
        except FileNotFoundError:  # dropped between our look and now
            return self.read(max(offset, self.begin), limit) if self.begin > start else b""
        following = bisect.bisect_right(starts, offset)
        if not data and following < len(starts):
            return self.read(starts[following], limit)
        return data

    def tail(self, count: int) -> bytes:
        """Return the last ``count`` bytes, or fewer if there are not so many."""
        offset = max(self.begin, self.end - count)
        parts = []
        while data := self.read(offset):
            parts.append(data)
            offset += len(data)
        return b"".join(parts)[-count:]

    def offset_at(self, time_ns: int) -> int:
        """Return the offset of the first byte that arrived at ``time_ns`` or later."""
        for start in reversed(segments(self._folder)):
            marks = self._marks(start)
            if marks and marks[0][1] < time_ns:
                position = bisect.bisect_left([when for _, when in marks], time_ns)
                if position < len(marks):
                    return marks[position][0]
                return start + _size(paths(self._folder, start)[0])
        return self.begin

    def pieces(self, begin: int, end: int | None = None) -> Iterator[Piece]:
        """Yield what arrived from offset ``begin`` up to ``end`` (default: now), with its times."""
        stop = self.end if end is None else end
        starts = segments(self._folder)
        for position, start in enumerate(starts):
            last = starts[position + 1] if position + 1 < len(starts) else stop
            if last <= begin or start >= stop:
                continue
            marks = self._marks(start) or [(start, 0)]
            bounds = [offset for offset, _ in marks[1:]] + [min(last, stop)]
            for (offset, when), bound in zip(marks, bounds, strict=True):
                here, there = max(offset, begin), min(bound, stop)
                while here < there:
                    data = self.read(here, min(there - here, 1 << 20))
                    if not data:
                        return
                    yield Piece(here, when, data)
                    here += len(data)

    def _marks(self, start: int) -> list[tuple[int, int]]:
        try:
            raw = paths(self._folder, start)[1].read_bytes()
        except FileNotFoundError:
            return []
        whole = len(raw) - len(raw) % _RECORD.size
        return [(offset, when) for offset, when in _RECORD.iter_unpack(raw[:whole])]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
