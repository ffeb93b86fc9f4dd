"""Bytes that say nothing of where they belong, or for which board they are.

Sources of the marks of file systems: the Linux kernel, include/uapi/linux/magic.h and
Documentation/filesystems; drivers/mtd/ubi/ubi-media.h.
"""

from __future__ import annotations

from pathlib import Path

from labctl.boards.flash.image import Image, Segment

KIND = "raw"
TITLE = "raw"
ORDER = 1000

# Where the mark is, the mark, what it shows.
_MARKS = (
    (0, b"hsqs", "squashfs"),
    (0, b"UBI#", "UBI volumes"),
    (0, b"\x31\x18\x10\x06", "UBIFS"),
    (0, b"\x85\x19", "JFFS2"),
    (0, b"070701", "cpio archive"),
    (0x438, b"\x53\xef", "ext2, ext3 or ext4 file system"),
    (0x400, b"\xe2\xe1\xf5\xe0", "EROFS"),
    (0x400, b"\x10\x20\xf5\xf2", "F2FS"),
    (82, b"FAT32", "FAT file system"),
    (54, b"FAT1", "FAT file system"),
)


def detect(head: bytes, name: str) -> bool:
    """Tell whether the file is of this kind: every file is."""
    return True


def read(data: bytes, path: Path) -> Image:
    """Read it."""
    about = next((what for at, mark, what in _MARKS if data[at : at + len(mark)] == mark), "")
    return Image(path, KIND, (Segment(0, data),), about=about)
