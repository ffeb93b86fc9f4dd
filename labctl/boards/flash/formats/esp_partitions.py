"""Tables of partitions of Espressif's chips.

Source: ESP-IDF, "Partition Tables" (binary form; entries of 32 bytes, MD5).
"""

from __future__ import annotations

from pathlib import Path

from labctl.boards.flash.formats._esp import PARTITION_MAGIC, read_table
from labctl.boards.flash.formats._view import View
from labctl.boards.flash.image import Image, Segment

KIND = "esp_partitions"
TITLE = "ESP table of partitions"
ORDER = 42


def detect(head: bytes, name: str) -> bool:
    """Tell whether the file is of this kind."""
    return head.startswith(PARTITION_MAGIC) and len(head) >= 32 and head[2] <= 0xFE


def read(data: bytes, path: Path) -> Image:
    """Read it; all of it is written, to where the boot loader looks for it.

    Raises:
        UsageError: It is damaged.
    """
    found = read_table(View(data, path, TITLE))
    return Image(path, KIND, (Segment(0, data),), about=", ".join(one.name for one in found))
