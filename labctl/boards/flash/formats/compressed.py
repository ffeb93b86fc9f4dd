"""Compressed images: gzip, xz, LZMA, bzip2, Zstandard, LZ4.

Sources: RFC 1952 (gzip; the last four bytes are the size modulo 2^32), RFC 8878 (Zstandard frame
header), "The .xz File Format" 1.1.0, LZMA SDK lzma.txt (the header of 13 bytes), "LZ4 Frame Format
Description" 1.6.2, bzip2(1).
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from labctl.boards.flash.formats._view import View
from labctl.boards.flash.image import HEAD_BYTES, Image, Segment, formats

KIND = "compressed"
TITLE = "compressed"
ORDER = 30

_MAGICS = {
    b"\x1f\x8b\x08": "gzip",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x02\x21\x4c\x18": "lz4",  # the older form, of kernels
    b"BZh": "bzip2",
}
# As much is unpacked to see that the file is whole; beyond, it is believed.
_CHECKED = 64 << 20
_PIECE = 1 << 16
_MEMORY = 128 << 20


class _Unpacker(Protocol):
    """What bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def which(head: bytes) -> str | None:
    """Return how a file that begins so is compressed, or None."""
    for magic, name in _MAGICS.items():
        if head.startswith(magic):
            return name
    # LZMA has no magic: properties 0x5D, a dictionary of a power of two, the size or all ones.
    size = int.from_bytes(head[1:5], "little")
    known = head[5:13] == b"\xff" * 8 or head[10:13] == bytes(3)
    if len(head) >= 14 and head[0] == 0x5D and head[13] == 0:
        return "lzma" if known and size >= 4096 and not size & (size - 1) else None
    return None


def detect(head: bytes, name: str) -> bool:
    """Tell whether the file is of this kind."""
    return which(head) is not None


def read(data: bytes, path: Path) -> Image:
    """Read it; it is written as it is, or unpacked by the board.

    Raises:
        UsageError: It is damaged or was cut.
    """
    name = which(data[:64]) or "gzip"
    file = View(data, path, f"{name} file")
    inner: bytes = b""
    size: int | None
    try:
        if name in ("gzip", "xz", "lzma", "bzip2"):
            inner, size = _unpack(file, name)
        else:
            size = _zstd_size(file) if name == "zstd" else _lz4_size(file)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, MemoryError) as error:
        raise file.damaged(str(error) or "it cannot be unpacked") from None
    words = [name]
    architecture = None
    if inner:
        what, architecture = _inside(inner)
        words[0] += f" of {what}"
    if size is not None:
        words.append(f"{size:,} bytes unpacked")
    return Image(path, KIND, (Segment(0, data),), architecture=architecture, about=", ".join(words))


def _inside(head: bytes) -> tuple[str, str | None]:
    """Return what the beginning of the content is, and for which processor."""
    module = next(one for one in formats().values() if one.detect(head, ""))
    if module.KIND == "linux":
        form, architecture = module.what(head) or ("", None)
        return f"a {module.TITLE} {form} for {architecture}", architecture
    if module.KIND == "wrong":
        return str(module.what(head)), None
    return {"raw": "raw bytes"}.get(module.KIND, str(module.TITLE)), None


def _unpack(file: View, name: str) -> tuple[bytes, int | None]:
    """Return the beginning of the content, and its size."""
    head = bytearray()
    size = 0
    try:
        for piece in _gunzip(file.data) if name == "gzip" else _pieces(file.data, name):
            if len(head) < HEAD_BYTES:
                head += piece[: HEAD_BYTES - len(head)]
            size += len(piece)
            if size > _CHECKED:
                return bytes(head), _said(file, name)
    except lzma.LZMAError as error:
        # It may be right; it was packed with a dictionary larger than what is used here.
        if "limit" in str(error):
            return b"", _said(file, name)
        raise
    return bytes(head), size


def _said(file: View, name: str) -> int | None:
    """Return the size of the content as the file says it, where it does."""
    if name == "gzip":
        return int.from_bytes(file.data[-4:], "little")
    if name == "lzma":
        size = int.from_bytes(file.data[5:13], "little")
        return None if size == 2**64 - 1 else size
    return None


def _gunzip(data: bytes) -> Iterator[bytes]:
    """Yield what gzip packed, piece by piece; several members count as one."""
    rest: memoryview | bytes = memoryview(data)
    while rest[:2] == b"\x1f\x8b":
        unpacker = zlib.decompressobj(wbits=31)
        at = 0
        pending: bytes = b""
        while not unpacker.eof:
            if not pending:
                if at >= len(rest):
                    raise EOFError("it was cut")
                pending = bytes(rest[at : at + _PIECE])
                at += len(pending)
            yield unpacker.decompress(pending, _PIECE)
            pending = unpacker.unconsumed_tail
        rest = rest[at - len(unpacker.unused_data) :]


def _pieces(data: bytes, name: str) -> Iterator[bytes]:
    """Yield what bzip2, LZMA or xz packed, piece by piece."""
    unpacker: _Unpacker
    lz = name != "bzip2"
    unpacker = lzma.LZMADecompressor(memlimit=_MEMORY) if lz else bz2.BZ2Decompressor()
    at = 0
    while not unpacker.eof:
        pending = b""
        if unpacker.needs_input:
            pending = data[at : at + _PIECE]
            at += len(pending)
            if not pending:
                raise EOFError("it was cut")
        yield unpacker.decompress(pending, _PIECE)


def _zstd_size(file: View) -> int | None:
    """Return the size of the content of the first frame, where its header says it."""
    flags = file.number(4, 1, "frame header")
    single, width = flags & 0x20, (0, 2, 4, 8)[flags >> 6]
    if single and not width:
        width = 1
    at = 5 + (0 if single else 1) + (0, 1, 2, 4)[flags & 3]
    if not width:
        return None
    return file.number(at, width, "frame header") + (256 if width == 2 else 0)


def _lz4_size(file: View) -> int | None:
    """Return the size of the content, where the frame's header says it."""
    if file.data[0] != 0x04 or not file.number(4, 1, "frame header") & 0x08:
        return None
    return file.number(6, 8, "frame header")
