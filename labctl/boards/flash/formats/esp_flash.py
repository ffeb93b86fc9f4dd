"""Whole flash images for Espressif's chips: boot loader, table of partitions and program.

Sources: esptool documentation, "merge-bin"; ESP-IDF, "Bootloader" (it begins at 0x1000 on ESP32 and
ESP32-S2, at 0x2000 on ESP32-C5 and ESP32-P4, at 0 on the others) and "Partition Tables" (0x8000).
"""

from __future__ import annotations

from pathlib import Path

from labctl.boards.flash.formats._esp import (
    MAGIC,
    PARTITION_MAGIC,
    TABLE_OFFSET,
    read_program,
    read_table,
)
from labctl.boards.flash.formats._view import View
from labctl.boards.flash.image import Image, Segment

KIND = "esp_flash"
TITLE = "ESP flash image"
ORDER = 40

_LOADERS = (0, 0x1000, 0x2000)


def detect(head: bytes, name: str) -> bool:
    """Tell whether the file is of this kind."""
    return head[TABLE_OFFSET : TABLE_OFFSET + 2] == PARTITION_MAGIC and _loader(head) is not None


def _loader(data: bytes) -> int | None:
    """Return where the boot loader begins; what is before it is as erased flash is."""
    for offset in _LOADERS:
        if data[offset : offset + 1] == bytes([MAGIC]) and not data[:offset].strip(b"\xff"):
            return offset
    return None


def read(data: bytes, path: Path) -> Image:
    """Read it; it belongs to address 0 of the flash.

    Raises:
        UsageError: It is damaged: one of its images or its table of partitions.
    """
    file = View(data, path, TITLE)
    loader = read_program(file, _loader(data) or 0)
    partitions = read_table(file, TABLE_OFFSET)
    about = loader.about
    for one in partitions:
        if one.kind == 0 and one.offset < len(data) and data[one.offset] == MAGIC:
            about = read_program(file, one.offset).about or about
            break
    words = ", ".join(filter(None, [about, "with " + ", ".join(one.name for one in partitions)]))
    return Image(
        path, KIND, (Segment(0, data),), True, loader.architecture, loader.chip, loader.entry, words
    )
