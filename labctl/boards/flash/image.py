"""What is to be written: an image, whatever file it came in.

Each kind of file is a module in `labctl.boards.flash.formats`; it tells by the first bytes whether
a file is of its kind, and reads it into segments.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import ModuleType

from labctl.boards.flash.source import Source, open_source
from labctl.errors import UsageError

# An image is read into memory: so much is more than any method here carries over a serial line.
# Larger ones (of disks) are read piece by piece; see `Image.source`.
LARGEST_IN_MEMORY = 256 << 20
# What a kind of file is told by. Some of it is far behind: the partition table of an ESP's flash
# image at 0x8000, the descriptor of an ISO 9660 image at 0x8001.
HEAD_BYTES = 0x9000
ERASED = 0xFF


@dataclass(frozen=True)
class Segment:
    """Bytes that belong to one address.

    Attributes:
        address: Of the first byte; relative to nothing, as the processor or the flash sees it.
        data: The bytes.
    """

    address: int
    data: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """How many bytes they are."""
        return len(self.data)

    @property
    def end(self) -> int:
        """Address after the last byte."""
        return self.address + self.size


@dataclass(frozen=True)
class StreamedSegment(Segment):
    """What is too large for memory; ``data`` is empty.

    Attributes:
        source: Where it is read from.
    """

    source: Source

    @property
    def size(self) -> int:
        """How many bytes it covers."""
        return self.source.size


@dataclass(frozen=True)
class Image:
    """An image.

    Attributes:
        path: File that it was read from.
        kind: Kind of file: the name of its module in `labctl.boards.flash.formats`.
        segments: What it holds, ascending by address, without overlaps. One segment at address 0
            where the file says no address.
        placed: The file says where its bytes belong.
        architecture: Processor it is for, as the ELF world calls it (``arm``, ``aarch64``,
            ``riscv64``, ``riscv32``, ``avr``, ``xtensa``, ``x86_64``); None where it does not say.
        chip: Chip or family it is for, in small letters (``esp32``, ``rp2040``); None where it
            does not say.
        entry: Address at which it starts, or None.
        about: What else it says of itself: name, version, compression.
        source: An image of a disk that can be read piece by piece, or None. Where it is too large
            for memory there are no segments, and only methods that stream can write it.
    """

    path: Path
    kind: str
    segments: tuple[Segment, ...]
    placed: bool = False
    architecture: str | None = None
    chip: str | None = None
    entry: int | None = None
    about: str = ""
    source: Source | None = None

    @property
    def streamed(self) -> bool:
        """Whether it is too large for memory."""
        return self.source is not None and not self.segments

    @property
    def size(self) -> int:
        """Bytes that it holds, without the gaps."""
        if self.source is not None and not self.segments:
            return self.source.size
        return sum(len(one.data) for one in self.segments)

    @property
    def sha256(self) -> str:
        """SHA-256 of addresses and bytes, in hexadecimal; see `Source.fingerprint`."""
        if self.source is not None and not self.segments:
            return self.source.fingerprint
        total = hashlib.sha256()
        for one in self.segments:
            if self.placed:
                total.update(one.address.to_bytes(8, "little"))
            total.update(one.data)
        return total.hexdigest()

    def at(self, address: int) -> tuple[Segment, ...]:
        """Return its segments where they belong: ``address`` if the file does not say."""
        if self.placed:
            return self.segments
        return tuple(replace(one, address=one.address + address) for one in self.segments)

    def describe(self) -> str:
        """Return it in a few words: ``ELF for arm, 12,345 bytes at 0x8000000``."""
        known = formats().get(self.kind)
        parts = [known.TITLE if known else self.kind]
        if self.chip or self.architecture:
            parts.append(f"for {self.chip or self.architecture}")
        where = f" at {self.segments[0].address:#x}" if self.placed and self.segments else ""
        text = f"{' '.join(parts)}, {self.size:,} bytes{where}"
        return f"{text} ({self.about})" if self.about else text


def read_image(path: Path, *, kind: str | None = None) -> Image:
    """Read an image.

    Args:
        path: The file.
        kind: Take it for this kind of file, whatever it looks like; ``raw`` for its bytes as they
            are.

    Raises:
        UsageError: It cannot be read, is empty, is too large, is damaged, or there is no such kind.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise UsageError("it is no file", thing=str(path))
        source = None
        if kind in (None, "raw"):
            source = open_source(path, as_is=kind is not None, least=LARGEST_IN_MEMORY)
        if source is not None:
            return _disk_image(path, source, kind)
        if size > LARGEST_IN_MEMORY:
            raise UsageError(
                f"it has {size:,} bytes; of more than {LARGEST_IN_MEMORY >> 20} MiB only images of "
                "disks can be written", thing=str(path), action="leave '--kind' away",
            )  # fmt: skip
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", thing=str(path)) from None
    if not data:
        raise UsageError("it is empty", thing=str(path))
    return parse_image(data, path, kind=kind)


def parse_image(data: bytes, path: Path, *, kind: str | None = None) -> Image:
    """Read an image that was read from ``path``, or unpacked from it; see `read_image`.

    Raises:
        UsageError: It is damaged, or there is no such kind.
    """
    return _module(data, path, kind).read(data, path)  # type: ignore[no-any-return]


def _disk_image(path: Path, source: Source, kind: str | None) -> Image:
    """Return an image that can be streamed; in memory as well where it fits."""
    segments: tuple[Segment, ...] = ()
    head = source.read(0, min(HEAD_BYTES, source.size))
    if kind is None and (found := _module(head, path, None)).KIND == "wrong":
        found.read(head, path)  # says what it is: an archive, the disk of a virtual machine
    if source.size <= LARGEST_IN_MEMORY:
        source.survey("sha256")  # compares it with its block map
        segments = (Segment(0, source.read(0, source.size)),)
    return Image(path, "disk", segments, about=source.about, source=source)


def _module(data: bytes, path: Path, kind: str | None) -> ModuleType:
    known = formats()
    head = data[:HEAD_BYTES]
    found = next(module for module in known.values() if module.detect(head, path.name))
    if kind is None:
        return found
    if kind not in known:
        raise UsageError(
            f"there is no kind of image '{kind}'", action=f"use one of {', '.join(known)}"
        )
    if not known[kind].detect(head, path.name):
        raise UsageError(
            f"it is no {known[kind].TITLE}, it looks like {found.TITLE}", thing=str(path),
            action="leave '--kind' away, or give another file",
        )  # fmt: skip
    return known[kind]


@cache
def formats() -> dict[str, ModuleType]:
    """Return the kinds of files there are, the most particular first; ``raw`` takes everything."""
    package = importlib.import_module("labctl.boards.flash.formats")
    modules = [
        importlib.import_module(f"{package.__name__}.{found.name}")
        for found in pkgutil.iter_modules(package.__path__)
        if not found.name.startswith("_")
    ]
    modules.sort(key=lambda module: module.ORDER)
    return {module.KIND: module for module in modules}


def join(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Return ``segments`` ascending, those that touch made one.

    Raises:
        ValueError: Two of them overlap.
    """
    runs: list[tuple[int, list[bytes]]] = []
    end = -1
    for one in sorted(segments, key=lambda segment: segment.address):
        if not one.data:
            continue
        if one.address < end:
            raise ValueError(f"two parts overlap at {one.address:#x}")
        if one.address > end:
            runs.append((one.address, []))
        runs[-1][1].append(one.data)
        end = one.end
    return tuple(Segment(address, b"".join(parts)) for address, parts in runs)


def fill(segments: Iterable[Segment], *, erased: int = ERASED) -> Segment:
    """Return one segment over all of ``segments``, the gaps as erased flash is.

    Raises:
        UsageError: They are so far apart that this would not fit into memory.
    """
    ordered = join(segments)
    if not ordered:
        return Segment(0, b"")
    base = ordered[0].address
    if ordered[-1].end - base > LARGEST_IN_MEMORY:
        raise UsageError(
            f"its parts are too far apart: from {base:#x} to {ordered[-1].end - 1:#x}",
            action="give an image of one place, such as its flash only",
        )
    whole = bytearray([erased]) * (ordered[-1].end - base)
    for one in ordered:
        whole[one.address - base : one.end - base] = one.data
    return Segment(base, bytes(whole))


def cut(segments: Iterable[Segment], size: int) -> list[Segment]:
    """Return ``segments`` in pieces of at most ``size`` bytes, none across a multiple of it."""
    found = []
    for one in segments:
        at = 0
        while at < len(one.data):
            count = size - (one.address + at) % size
            found.append(Segment(one.address + at, one.data[at : at + count]))
            at += count
    return found
