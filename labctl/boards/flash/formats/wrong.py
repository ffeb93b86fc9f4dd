"""Files that people give by mistake: archives, web pages, pointers, texts.

Each is told by the magic number that file(1) tells it by (its "magic" data base), or that its
specification gives: the Git LFS specification for pointers, POSIX pax for tar (``ustar`` at 257).
"""

from __future__ import annotations

import re
from pathlib import Path

from labctl.boards.flash.formats._view import View
from labctl.boards.flash.image import HEAD_BYTES, Image

KIND = "wrong"
TITLE = "no image"
# After all kinds that are text or begin like one of these, before raw.
ORDER = 900

_UNPACK = "unpack it and give the image inside"
_AGAIN = "download the image itself"
_BUILD = "give the image that is built from it"
_VM = "convert it with 'qemu-img convert -O raw'"

# Where the mark is, the mark, what the file is, what to do.
_MARKS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs.github.com/spec/", "a Git LFS pointer",
     "fetch the file with 'git lfs pull'"),
    (0, b"PK\x03\x04", "a zip archive", _UNPACK),
    (0, b"PK\x05\x06", "an empty zip archive", _AGAIN),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (0, b"!<arch>\ndebian-binary", "a Debian package", _UNPACK),
    (0, b"!<arch>\n", "a static library", _BUILD),
    (0, b"\xed\xab\xee\xdb", "an RPM package", _UNPACK),
    (0, b"QFI\xfb", "a QCOW2 disk of a virtual machine", _VM),
    (0, b"KDMV", "a VMDK disk of a virtual machine", _VM),
    (0, b"vhdxfile", "a VHDX disk of a virtual machine", _VM),
    (0, b"conectix", "a VHD disk of a virtual machine", _VM),
    (0, b"DfuSe", "a DfuSe file", "give the .hex or .bin that it was made of"),
    (0, b"%PDF-", "a PDF document", _AGAIN),
    (0, b"\x89PNG\r\n", "a picture", _AGAIN),
    (0, b"\xff\xd8\xff", "a picture", _AGAIN),
    (0, b"GIF8", "a picture", _AGAIN),
    (0, b"BC\xc0\xde", "LLVM bitcode", _BUILD),
    (0, b"\xca\xfe\xba\xbe", "a Java class or a Mach-O program", _BUILD),
    (0, b"\xcf\xfa\xed\xfe", "a Mach-O program", _BUILD),
    (0, b"MZ", "a Windows or EFI program", "give the image for the board"),
)  # fmt: skip
_WEB = re.compile(
    rb"\s*(?:<!--.{0,2000}?-->\s*)?<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_XML = re.compile(rb"\s*<(?:\?xml|svg|Error>)", re.I)
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def _find(head: bytes) -> tuple[str, str] | None:
    """Return what a file that begins so is, and what to do; None if it may be an image."""
    for at, mark, what_it_is, action in _MARKS:
        if head[at : at + len(mark)] == mark and (mark != b"MZ" or _is_pe(head)):
            return what_it_is, action
    plain = head.removeprefix(b"\xef\xbb\xbf")
    if _WEB.match(plain):
        return "a web page, such as the error that a server sent in place of the file", _AGAIN
    if not _is_text(head):
        return None
    if _XML.match(plain):
        return "an XML file", _AGAIN
    if plain.lstrip()[:1] in (b"{", b"["):
        return "a JSON file", _AGAIN
    if plain.startswith(b"#!"):
        return "a script", "give the image; for U-Boot, make one with 'mkimage -T script'"
    if plain.startswith((b"/dts-v1/", b"/ {")):
        return "the source of a device tree", "compile it with dtc"
    if re.match(rb"[0-9a-fA-F]{64}\s|[0-9a-fA-F]{32}\s|SHA256 \(", plain):
        return "a list of checksums", _AGAIN
    return "a text file", "give the image; with --kind raw it is written as it is"


def _is_pe(head: bytes) -> bool:
    at = int.from_bytes(head[0x3C:0x40], "little")
    return head[at : at + 4] == b"PE\0\0"


def _is_text(head: bytes) -> bool:
    """Tell whether it is text: UTF-8 without control characters."""
    if _NOT_TEXT.search(head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The head may end within a character.
        return len(head) == HEAD_BYTES and error.start >= HEAD_BYTES - 4
    return True


def what(head: bytes) -> str:
    """Return what a file that begins so is."""
    found = _find(head)
    return found[0] if found else "raw bytes"


def detect(head: bytes, name: str) -> bool:
    """Tell whether the file is one of these."""
    return _find(head) is not None


def read(data: bytes, path: Path) -> Image:
    """Refuse it.

    Raises:
        UsageError: Always.
    """
    what_it_is, action = _find(data[:HEAD_BYTES]) or ("no image", _AGAIN)
    raise View(data, path, TITLE).wrong(f"it is {what_it_is}, not an image", action)
