"""Device trees as the kernel takes them (DTB).

Source: Devicetree Specification v0.4, chapter 5, and 2.3 (``model``, ``compatible``).
"""

from __future__ import annotations

from pathlib import Path

from labctl.boards.flash.formats._fdt import MAGIC, parse
from labctl.boards.flash.formats._view import View
from labctl.boards.flash.image import Image, Segment

KIND = "dtb"
TITLE = "device tree"
ORDER = 14


def detect(head: bytes, name: str) -> bool:
    """Tell whether the file is of this kind; a FIT, which begins like one, was asked before."""
    return head.startswith(MAGIC)


def read(data: bytes, path: Path) -> Image:
    """Read it; all of it is written.

    Raises:
        UsageError: It is damaged.
    """
    root = parse(View(data, path, TITLE, "big"))
    about = root.text("model") or root.text("compatible")
    return Image(path, KIND, (Segment(0, data),), about=about)
