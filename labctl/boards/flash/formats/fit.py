"""FIT, U-Boot's flattened image tree: kernels, trees and ramdisks with their hashes in one file.

Source: Flattened Image Tree specification 0.8, https://fitspec.osfw.foundation (U-Boot,
doc/usage/fit/source_file_format.rst): nodes, ``data`` and ``data-offset``, ``hash`` nodes.
"""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

from labctl.boards.flash.formats._fdt import MAGIC, Node, parse, total_size
from labctl.boards.flash.formats._uboot import FIT_ARCHITECTURES
from labctl.boards.flash.formats._view import View
from labctl.boards.flash.image import Image, Segment

KIND = "fit"
TITLE = "FIT"
ORDER = 13

# A node "images", as the structure of the tree has it.
_IMAGES = b"\0\0\0\x01images\0"
_HASHES = ("md5", "sha1", "sha256", "sha384", "sha512")
_MOST_SHOWN = 4


def detect(head: bytes, name: str) -> bool:
    """Tell whether the file is of this kind."""
    return head.startswith(MAGIC) and _IMAGES in head


def read(data: bytes, path: Path) -> Image:
    """Read it; all of it is written.

    Raises:
        UsageError: It is damaged: its tree, or an image whose hash is wrong.
    """
    file = View(data, path, TITLE, "big")
    root = parse(file)
    images = root.children.get("images", Node()).children
    if not images:
        raise file.wrong("this FIT has no images", "build it again with 'mkimage -f'")
    checked = sum(_check(file, name, node) for name, node in images.items())
    processors = {
        FIT_ARCHITECTURES.get(arch, arch)
        for node in images.values()
        if (arch := node.text("arch")) and node.text("type") != "flat_dt"
    }
    shown = [f"{name}: {node.text('type') or 'no type'}" for name, node in images.items()]
    if len(shown) > _MOST_SHOWN:
        shown[_MOST_SHOWN:] = [f"{len(shown) - _MOST_SHOWN} more"]
    words = [root.text("description"), ", ".join(shown), f"{checked} hashes are right"]
    return Image(
        path, KIND, (Segment(0, data),), False,
        processors.pop() if len(processors) == 1 else None, None, None,
        "; ".join(filter(None, words)),
    )  # fmt: skip


def _check(file: View, name: str, node: Node) -> int:
    """Check the hashes of one image; return how many there were that are known here."""
    content = _content(file, name, node)
    checked = 0
    for label, child in node.children.items():
        if not label.startswith("hash"):
            continue
        algorithm, wanted = child.text("algo"), child.properties.get("value", b"")
        if algorithm == "crc32":
            found = zlib.crc32(content).to_bytes(4, "big")
        elif algorithm in _HASHES:
            found = hashlib.new(algorithm, content, usedforsecurity=False).digest()
        else:
            continue
        if found != wanted:
            raise file.damaged(f"the {algorithm} of its image '{name}' is wrong")
        checked += 1
    return checked


def _content(file: View, name: str, node: Node) -> bytes:
    """Return the bytes of an image: within the tree, or behind it (``mkimage -E``)."""
    if "data" in node.properties:
        return node.properties["data"]
    size = node.cell("data-size")
    position, offset = node.cell("data-position"), node.cell("data-offset")
    if size is None or (position is None and offset is None):
        raise file.damaged(f"its image '{name}' has no data")
    if position is None:
        position = ((total_size(file) + 3) & ~3) + (offset or 0)
    return file.take(position, size, f"image '{name}'")
