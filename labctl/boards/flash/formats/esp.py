"""Images for Espressif's chips: programs and second boot loaders.

Sources: esptool documentation, "Firmware Image Format" (header, segments, checksum, SHA-256);
ESP-IDF, bootloader_support, esp_app_format.h (``esp_chip_id_t``) and esp_app_desc.h.
"""

from __future__ import annotations

from pathlib import Path

from labctl.boards.flash.formats._esp import MAGIC, read_program
from labctl.boards.flash.formats._view import View
from labctl.boards.flash.image import Image, Segment

KIND = "esp"
TITLE = "ESP image"
ORDER = 41

_MOST_SEGMENTS = 16
# Ways to read the flash: QIO, QOUT, DIO, DOUT, fast, slow.
_LAST_MODE = 5
_CODE = range(0x40, 0x60)


def detect(head: bytes, name: str) -> bool:
    """Tell whether the file is of this kind: its magic byte, and numbers that can be right.

    A jump of x86 begins with the same byte; what these chips run lies from 0x40000000 on.
    """
    return (
        len(head) >= 24
        and head[0] == MAGIC
        and 1 <= head[1] <= _MOST_SEGMENTS
        and head[2] <= _LAST_MODE
        and head[7] in _CODE
    )


def read(data: bytes, path: Path) -> Image:
    """Read it; all of it is written, to where its partition is.

    Raises:
        UsageError: It is damaged: a segment is cut, its checksum or its SHA-256 is wrong.
    """
    found = read_program(View(data, path, TITLE))
    return Image(
        path, KIND, (Segment(0, data),), False, found.architecture, found.chip, found.entry,
        found.about,
    )  # fmt: skip
