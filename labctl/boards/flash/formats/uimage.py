"""U-Boot's legacy images: a header of 64 bytes before what ``bootm`` takes.

Source: U-Boot, include/image.h (``legacy_img_hdr``, ``IH_ARCH_*``, ``IH_TYPE_*``, ``IH_COMP_*``).
"""

from __future__ import annotations

import zlib
from pathlib import Path

from labctl.boards.flash.formats._uboot import ARCHITECTURES, COMPRESSIONS, TYPES
from labctl.boards.flash.formats._view import View, text
from labctl.boards.flash.image import Image, Segment

KIND = "uimage"
TITLE = "uImage"
ORDER = 12

_MAGIC = b"\x27\x05\x19\x56"
_HEADER = 64


def detect(head: bytes, name: str) -> bool:
    """Tell whether the file is of this kind."""
    return head.startswith(_MAGIC)


def read(data: bytes, path: Path) -> Image:
    """Read it; U-Boot wants the header too, so that is part of what is written.

    Raises:
        UsageError: It is damaged: either of its checksums is wrong, or it was cut.
    """
    file = View(data, path, TITLE, "big")
    header = bytearray(file.take(0, _HEADER, "header"))
    header_crc, size = file.number(4, 4, "header"), file.number(12, 4, "header")
    load, entry, data_crc = (file.number(at, 4, "header") for at in (16, 20, 24))
    arch, kind, compression = header[29], header[30], header[31]
    header[4:8] = bytes(4)
    if zlib.crc32(header) != header_crc:
        raise file.damaged("the checksum of its header is wrong")
    if zlib.crc32(file.take(_HEADER, size, "content")) != data_crc:
        raise file.damaged("the checksum of its content is wrong")
    words = [text(bytes(header[32:])), TYPES.get(kind, f"type {kind}")]
    if compression:
        words.append(COMPRESSIONS.get(compression, f"compression {compression}"))
    words.append(f"loaded to {load:#x}")
    return Image(
        path, KIND, (Segment(0, data),), False, ARCHITECTURES.get(arch), None, entry,
        ", ".join(filter(None, words)),
    )  # fmt: skip
