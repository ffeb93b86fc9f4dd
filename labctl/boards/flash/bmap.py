"""Block maps: which blocks of a disk image hold something, with a checksum for each run of them.

Source: bmap-tools, docs/README.md and bmaptools/BmapCreate.py (the comment in the file itself):
XML; ``Range`` is ``first-last`` or ``first``, in blocks, ascending; since version 1.4 ``chksum`` is
in ``ChecksumType``, before it was ``sha1``; ``BmapFileChecksum`` is over the file with zeros in its
own place. What is not mapped need not be written: it holds nothing, whatever it holds.
"""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import UsageError

_LARGEST = 64 << 20
_CHECKSUMS = ("sha256", "sha512", "sha384", "sha224", "sha1", "md5")
_RANGE = re.compile(r"\s*(\d{1,15})\s*(?:-\s*(\d{1,15})\s*)?")
_VERSIONS = ("1", "2")


@dataclass(frozen=True)
class Range:
    """A run of bytes that hold something.

    Attributes:
        begin: First byte.
        end: After the last byte.
        checksum: Of these bytes, in small hexadecimal digits; empty where the map has none.
    """

    begin: int
    end: int
    checksum: str = ""


@dataclass(frozen=True)
class BlockMap:
    """A block map.

    Attributes:
        size: Of the image, bytes.
        ranges: What is mapped, ascending, without overlaps.
        algorithm: Name of the checksum, as `hashlib` has it.
    """

    size: int
    ranges: tuple[Range, ...]
    algorithm: str = "sha256"


def find_bmap(image: Path) -> Path | None:
    """Return the map beside ``image``: ``NAME.bmap``, NAME with or without its last suffixes."""
    name = image.name
    while name:
        path = image.with_name(f"{name}.bmap")
        if path != image and path.is_file():
            return path
        name, dot, _ = name.rpartition(".")
        if not dot:
            return None
    return None


def read_bmap(path: Path) -> BlockMap:
    """Read a block map.

    Raises:
        UsageError: It cannot be read, or is damaged; the message says where.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError("it is too large for a block map", thing=str(path))
        return parse_bmap(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", thing=str(path)) from None
    except ValueError as error:
        raise UsageError(
            f"this block map is damaged: {error}", thing=str(path),
            action="make it again with 'bmaptool create', or move it away to write everything",
        ) from None  # fmt: skip


def parse_bmap(data: bytes) -> BlockMap:
    """Return the block map that ``data`` holds.

    Raises:
        ValueError: It is none, or is damaged.
    """
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError("it declares a document type, as no block map does")
    try:
        root = ET.fromstring(data)  # noqa: S314 - nothing can be declared in it that expands
    except (ET.ParseError, LookupError) as error:
        raise ValueError(str(error)) from None
    version = root.get("version", "")
    if root.tag != "bmap" or version.partition(".")[0] not in _VERSIONS:
        raise ValueError(f"it is <{root.tag}> of version '{version}', not <bmap> of 1 or 2")
    algorithm = _text(root, "ChecksumType", "sha1").lower()
    if algorithm not in _CHECKSUMS:
        raise ValueError(f"its checksum '{algorithm}' is not known")
    _check_itself(root, data, algorithm)
    size, block = _number(root, "ImageSize"), _number(root, "BlockSize")
    if not block or _number(root, "BlocksCount") != -(-size // block):
        raise ValueError("its sizes contradict each other")
    ranges = tuple(_ranges(root, size, block))
    mapped = sum(-(-(one.end - one.begin) // block) for one in ranges)
    if (text := _text(root, "MappedBlocksCount", "")) and text != str(mapped):
        raise ValueError(f"it has {mapped} blocks, and says {text}")
    return BlockMap(size, ranges, algorithm)


def _text(root: ET.Element, name: str, default: str | None = None) -> str:
    found = root.find(name)
    if found is not None and found.text and found.text.strip():
        return found.text.strip()
    if default is None:
        raise ValueError(f"it has no <{name}>")
    return default


def _number(root: ET.Element, name: str) -> int:
    text = _text(root, name)
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(f"its <{name}> is no number")
    return int(text)


def _check_itself(root: ET.Element, data: bytes, algorithm: str) -> None:
    """Compare the checksum of the file with what it says; maps before 1.3 say none."""
    for name, kind in (("BmapFileChecksum", algorithm), ("BmapFileSHA1", "sha1")):
        wanted = _text(root, name, "")
        if not wanted:
            continue
        blank = data.replace(wanted.encode(), b"0" * len(wanted), 1)
        if hashlib.new(kind, blank, usedforsecurity=False).hexdigest() != wanted.lower():
            raise ValueError("its own checksum is wrong")


def _ranges(root: ET.Element, size: int, block: int) -> Iterator[Range]:
    end = 0
    for one in root.iterfind("BlockMap/Range"):
        match = _RANGE.fullmatch(one.text or "")
        if match is None:
            raise ValueError(f"'{(one.text or '').strip()[:40]}' is no range of blocks")
        first, last = int(match[1]), int(match[2] or match[1])
        begin, after = first * block, min((last + 1) * block, size)
        if begin < end or last < first or last * block >= size:
            raise ValueError(f"its range {first}-{last} overlaps another, or lies outside")
        yield Range(begin, after, (one.get("chksum") or one.get("sha1") or "").lower())
        end = after


class RangeChecker:
    """Compares what is read of an image with the checksums of its map.

    Args:
        block_map: The map.
        thing: The image, for messages.
    """

    def __init__(self, block_map: BlockMap, thing: str) -> None:
        self._left = [one for one in block_map.ranges if one.checksum][::-1]
        self._algorithm = block_map.algorithm
        self._thing = thing
        self._sum = self._new()

    def _new(self) -> hashlib._Hash:
        return hashlib.new(self._algorithm, usedforsecurity=False)

    def feed(self, begin: int, data: bytes) -> None:
        """Take ``data``, the bytes from ``begin`` on; calls come in ascending order.

        Raises:
            UsageError: A range is not what the map says.
        """
        end = begin + len(data)
        view = memoryview(data)
        while self._left and self._left[-1].begin < end:
            one = self._left[-1]
            self._sum.update(view[max(one.begin - begin, 0) : one.end - begin])
            if one.end > end:
                return
            if self._sum.hexdigest() != one.checksum:
                raise UsageError(
                    f"its bytes {one.begin:,} to {one.end - 1:,} are not those of its block map",
                    thing=self._thing, action="build or copy the image again",
                )  # fmt: skip
            self._left.pop()
            self._sum = self._new()


def closed(ranges: Sequence[Range], gap: int) -> list[tuple[int, int]]:
    """Return begin and end of ``ranges``, gaps of fewer than ``gap`` bytes between them closed."""
    found: list[tuple[int, int]] = []
    for one in ranges:
        if found and one.begin - found[-1][1] < gap:
            found[-1] = (found[-1][0], one.end)
        else:
            found.append((one.begin, one.end))
    return found
