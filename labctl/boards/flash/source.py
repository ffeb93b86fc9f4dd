"""Images that are read piece by piece: of disks, larger than memory, compressed, with a block map.

A source is surveyed once, which tells what it holds and the digest of each piece; later only the
pieces that a board lacks are read. Holes of a sparse file are never read: they are zeros (lseek(2),
SEEK_HOLE). With a block map (see `labctl.boards.flash.bmap`) what is not mapped is left alone.
"""

from __future__ import annotations

import bisect
import bz2
import errno
import gzip
import hashlib
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from labctl.boards.cksum import cksum
from labctl.boards.flash.bmap import BlockMap, RangeChecker, closed, find_bmap, read_bmap
from labctl.errors import UsageError

# Pieces are compared one by one, so that what is there already is not written.
PIECE = 4 << 20
# 128 bits of a digest: chance does not reproduce them, and a serial line has less to carry.
DIGITS = 32
# Smaller gaps in a block map are written as the image has them: fewer places to write.
_GAP = 256 << 10
_DISKS = (".img", ".wic", ".raw", ".disk", ".sdimg", ".sdcard", ".rpi-sdimg", ".hddimg", ".iso",
          ".ext2", ".ext3", ".ext4", ".btrfs", ".squashfs")  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """Bytes that are compared and written together.

    Attributes:
        begin: First byte, relative to the image.
        size: Bytes.
        digest: Of them, the first `DIGITS` characters.
        zero: They are zeros, all of them.
    """

    begin: int
    size: int
    digest: str
    zero: bool

    @property
    def end(self) -> int:
        """Byte after the last."""
        return self.begin + self.size


def digest_of(data: bytes | memoryview, algorithm: str) -> str:
    """Return the digest of ``data`` as it is compared; ``algorithm`` is of `hashlib` or cksum."""
    if algorithm == "cksum":
        return str(cksum(bytes(data)))
    return hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()[:DIGITS]


@cache
def _digest_of_zeros(size: int, algorithm: str) -> str:
    return digest_of(bytes(size), algorithm)


class Source:
    """An image that is read piece by piece.

    Args:
        path: The file, for messages.
        opener: Opens its bytes, uncompressed.
        size: Bytes of it; None if that is only known once it was read.
        extents: Begin and end of what was written into it, ascending; None for all of it.
        block_map: Its map; where there is none, what lies between extents must be zeros.
        about: What it is, for people: ``gzip, with a block map``.
    """

    def __init__(
        self,
        path: Path,
        opener: Callable[[], IO[bytes]],
        *,
        size: int | None = None,
        extents: list[tuple[int, int]] | None = None,
        block_map: BlockMap | None = None,
        about: str = "",
    ) -> None:
        self.path = path
        self.about = about
        self._open = opener
        self._size = size
        self._extents = extents
        self._block_map = block_map
        self._file: IO[bytes] | None = None
        self._surveys: dict[str, tuple[Piece, ...]] = {}

    @property
    def size(self) -> int:
        """Bytes that it covers on a device, holes among them."""
        if self._size is None:
            self.survey("sha256")
        assert self._size is not None
        return self._size

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what it holds and where; the same for each way of storing it."""
        total = hashlib.sha256(self.size.to_bytes(8, "little"))
        for one in self.survey("sha256"):
            total.update(one.begin.to_bytes(8, "little") + bytes.fromhex(one.digest))
        return total.hexdigest()

    def survey(self, algorithm: str) -> tuple[Piece, ...]:
        """Return what it holds, in pieces of at most `PIECE`; read once for each ``algorithm``.

        Raises:
            UsageError: It is damaged, or not what its block map says.
        """
        if algorithm not in self._surveys:
            checker = RangeChecker(self._block_map, str(self.path)) if self._block_map else None
            if self._size is None:
                pieces = list(self._survey_to_end(algorithm))
            else:
                pieces = list(self._survey_extents(algorithm, checker))
            self._surveys[algorithm] = tuple(pieces)
        return self._surveys[algorithm]

    def _survey_to_end(self, algorithm: str) -> Iterator[Piece]:
        at = 0
        while data := self._read(at, PIECE):
            yield _piece(at, data, algorithm)
            at += len(data)
        self._size = at
        if not at:
            raise self._damaged("it holds nothing")

    def _survey_extents(self, algorithm: str, checker: RangeChecker | None) -> Iterator[Piece]:
        assert self._size is not None
        for begin, end in _cut(self._spans(self._size), PIECE):
            if not self._holds(begin, end):
                yield Piece(begin, end - begin, _digest_of_zeros(end - begin, algorithm), True)
                continue
            data = self.read(begin, end - begin)
            if checker:
                checker.feed(begin, data)
            yield _piece(begin, data, algorithm)

    def _spans(self, size: int) -> list[tuple[int, int]]:
        """Return what is to be on the device."""
        if self._block_map is not None and self._extents is not None:
            return self._extents
        return [(0, size)]

    def _holds(self, begin: int, end: int) -> bool:
        """Tell whether anything was written between ``begin`` and ``end``."""
        if self._extents is None:
            return True
        last = bisect.bisect_left(self._extents, (end, 0)) - 1
        return last >= 0 and self._extents[last][1] > begin

    def read(self, begin: int, size: int) -> bytes:
        """Return ``size`` bytes from ``begin`` on; ascending reads are cheap.

        Raises:
            UsageError: They cannot be read.
        """
        data = self._read(begin, size)
        if len(data) != size:
            raise self._damaged(f"it ends at byte {begin + len(data):,}")
        return data

    def read_piece(self, piece: Piece, algorithm: str) -> bytes:
        """Return the bytes of ``piece``, of the survey by ``algorithm``.

        Raises:
            UsageError: They cannot be read, or are others now.
        """
        if piece.zero:
            return bytes(piece.size)
        data = self.read(piece.begin, piece.size)
        if digest_of(data, algorithm) != piece.digest:
            raise UsageError("it was changed while it was written", thing=str(self.path),
                             action="run it again")  # fmt: skip
        return data

    def narrow(self, piece: Piece, size: int, algorithm: str) -> list[Piece]:
        """Return ``piece`` in pieces of at most ``size`` bytes."""
        data = self.read_piece(piece, algorithm)
        return [
            _piece(piece.begin + at, data[at : at + size], algorithm)
            for at in range(0, len(data), size)
        ]

    def _read(self, begin: int, size: int) -> bytes:
        try:
            if self._file is None:
                self._file = self._open()
            self._file.seek(begin)
            parts = []
            while size and (part := self._file.read(size)):
                parts.append(part)
                size -= len(part)
            return b"".join(parts)
        except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
            raise self._damaged(str(error)) from None

    def _damaged(self, cause: str) -> UsageError:
        return UsageError(f"it cannot be read to its end: {cause}", thing=str(self.path),
                          action="build or copy it again")  # fmt: skip

    def close(self) -> None:
        """Close the file; it is opened again when it is read again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _piece(begin: int, data: bytes, algorithm: str) -> Piece:
    zero = not any(data[:64]) and data.count(0) == len(data)
    return Piece(begin, len(data), digest_of(data, algorithm), zero)


def _cut(spans: list[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """Yield ``spans``, cut at each multiple of ``size``."""
    for begin, end in spans:
        at = begin
        while at < end:
            after = min(end, (at // size + 1) * size)
            yield at, after
            at = after


def memory_source(path: Path, data: bytes) -> Source:
    """Return a source of ``data``, which was read from ``path``."""
    return Source(path, lambda: io.BytesIO(data), size=len(data))


def open_source(path: Path, *, as_is: bool = False, least: int = 0) -> Source | None:
    """Return ``path`` as a source, or None where that gains nothing.

    Args:
        path: A file that can be read.
        as_is: Neither look for a block map nor uncompress it.
        least: A plain file of at most so many bytes is not worth it.

    Raises:
        UsageError: Its block map is damaged, or not the one of this image.
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(8)
    size = path.stat().st_size
    packed = None if as_is else _unpacker(head)
    map_path = None if as_is else find_bmap(path)
    if packed is not None and map_path is None and not _is_disk(path):
        packed = None
    if packed is None and map_path is None and size <= least:
        return None
    words = []
    if packed is not None:
        words.append(f"{packed[0]}, {size:,} bytes")

    def opener() -> IO[bytes]:
        return path.open("rb") if packed is None else packed[1](path)

    if map_path is None:
        if packed is not None:
            return Source(path, opener, about="; ".join(words))
        return Source(path, opener, size=size, extents=data_extents(path))
    block_map = read_bmap(map_path)
    mapped = sum(one.end - one.begin for one in block_map.ranges)
    words.append(f"{map_path.name}: {mapped:,} bytes mapped")
    if packed is None and size != block_map.size:
        raise UsageError(
            f"it is the map of an image of {block_map.size:,} bytes, {path.name} has {size:,}",
            thing=str(map_path), action="move the map away, or give the image that it belongs to",
        )  # fmt: skip
    return Source(path, opener, size=block_map.size, extents=closed(block_map.ranges, _GAP),
                  block_map=block_map, about="; ".join(words))  # fmt: skip


def _is_disk(path: Path) -> bool:
    return path.with_suffix("").suffix.lower() in _DISKS


_Unpack = Callable[[Path], Any]  # these three read and seek as files do
_UNPACKERS: tuple[tuple[bytes, str, _Unpack], ...] = (
    (b"\x1f\x8b\x08", "gzip", gzip.GzipFile),
    (b"\xfd7zXZ\0", "xz", lzma.LZMAFile),
    (b"BZh", "bzip2", bz2.BZ2File),
)


def _unpacker(head: bytes) -> tuple[str, _Unpack] | None:
    """Return the name of the compression that a file begins with, and what undoes it.

    Zstandard is not among them: Python 3.11 cannot undo it.
    """
    for mark, kind, unpack in _UNPACKERS:
        if head.startswith(mark):
            return kind, unpack
    return None


def data_extents(path: Path) -> list[tuple[int, int]] | None:
    """Return begin and end of what was written into a sparse file; None where nobody can say."""
    found = []
    with path.open("rb") as stream:
        end = os.fstat(stream.fileno()).st_size
        at = 0
        while at < end:
            try:
                begin = os.lseek(stream.fileno(), at, os.SEEK_DATA)
                at = os.lseek(stream.fileno(), begin, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole follows
                    break
                return None
            found.append((begin, at))
    return found
