"""Android's images: sparse images and boot images, which fastboot takes.

Sources: AOSP, system/core/libsparse/sparse_format.h (header of 28 bytes, chunks of 12) and
system/tools/mkbootimg, include/bootimg/bootimg.h ("ANDROID!", kernel_size, page_size).
"""

from __future__ import annotations

from pathlib import Path

from labctl.boards.flash.formats._view import View
from labctl.boards.flash.image import Image, Segment

KIND = "android"
TITLE = "Android image"
ORDER = 25

_SPARSE, _BOOT = b"\x3a\xff\x26\xed", b"ANDROID!"


def detect(head: bytes, name: str) -> bool:
    """Tell whether the file is of this kind."""
    return head.startswith((_SPARSE, _BOOT))


def read(data: bytes, path: Path) -> Image:
    """Read it; fastboot takes all of it.

    Raises:
        UsageError: It is damaged or was cut.
    """
    file = View(data, path, TITLE)
    about = "boot image" if data.startswith(_BOOT) else _sparse(file)
    return Image(path, KIND, (Segment(0, data),), about=about)


def _sparse(file: View) -> str:
    at, chunk_head = file.number(8, 2, "header"), file.number(10, 2, "header")
    block, blocks, chunks = (file.number(n, 4, "header") for n in (12, 16, 20))
    if at < 28 or chunk_head < 12:
        raise file.damaged("its headers are shorter than they can be")
    done = 0
    for index in range(chunks):
        what = f"chunk {index}"
        done += file.number(at + 4, 4, what)
        size = file.number(at + 8, 4, what)
        if size < chunk_head:
            raise file.damaged(f"{what} has {size} bytes")
        file.take(at, size, what)
        at += size
    if done != blocks:
        raise file.damaged(f"it has {done} blocks of {blocks}")
    return f"sparse, {block * blocks:,} bytes unpacked"
