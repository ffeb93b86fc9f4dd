"""Linux kernels as a boot loader takes them: Image (arm64, riscv), zImage (arm), bzImage (x86).

Sources, of the Linux kernel: Documentation/arch/arm64/booting.rst ("Call the kernel image"),
Documentation/arch/riscv/boot-image-header.rst, Documentation/arch/x86/boot.rst ("The Real-Mode
Kernel Header"), arch/arm/boot/compressed/head.S (0x016f2818 at 0x24, then begin and end), and
drivers/firmware/efi/libstub/zboot-header.S. Where a kernel is an EFI program too, the sections of
its PE header tell whether it is whole (Microsoft, "PE Format").
"""

from __future__ import annotations

from pathlib import Path

from labctl.boards.flash.formats._view import View, text
from labctl.boards.flash.image import Image, Segment

KIND = "linux"
TITLE = "Linux kernel"
ORDER = 20

_ZIMAGE = b"\x18\x28\x6f\x01"
_ARM64, _RISCV, _BZIMAGE, _ZBOOT = b"ARM\x64", b"RISCV\0\0\0", b"HdrS", b"MZ\0\0zimg"
# arch/riscv/kernel/head.S: how far from the beginning of the memory it wants to be.
_RISCV_OFFSETS = {0x200000: "riscv64", 0x400000: "riscv32"}
_MOST_SECTIONS = 96


def what(head: bytes) -> tuple[str, str | None] | None:
    """Return form and processor of a kernel, or None if this is no beginning of one."""
    if head[56:60] == _ARM64:
        return "Image", "aarch64"
    if head[48:56] == _RISCV:
        return "Image", _RISCV_OFFSETS.get(int.from_bytes(head[8:16], "little"), "riscv")
    if head[0x24:0x28] in (_ZIMAGE, _ZIMAGE[::-1]):
        return "zImage", "arm"
    if head[0x1FE:0x200] == b"\x55\xaa" and head[0x202:0x206] == _BZIMAGE:
        new = int.from_bytes(head[0x206:0x208], "little") >= 0x20C
        return "bzImage", "x86_64" if new and (head[0x236:0x237] or b"\0")[0] & 1 else "x86"
    if head.startswith(_ZBOOT):
        return "EFI zboot", _pe_machine(head)
    return None


def detect(head: bytes, name: str) -> bool:
    """Tell whether the file is of this kind."""
    return len(head) >= 0x240 and what(head) is not None


def read(data: bytes, path: Path) -> Image:
    """Read it; all of it is written.

    Raises:
        UsageError: It was cut.
    """
    file = View(data, path, TITLE)
    form, architecture = what(data[:0x1000]) or ("", None)
    words = [form]
    if form == "Image":
        size = file.number(16, 8, "header")
        if size:
            words.append(f"needs {size:,} bytes of memory")
    elif form == "zImage":
        order = "little" if data[0x24:0x28] == _ZIMAGE else "big"
        file.order = "little" if order == "little" else "big"
        begin, end = file.number(0x28, 4, "header"), file.number(0x2C, 4, "header")
        if end - begin > len(data):
            raise file.damaged(f"it has {len(data):,} bytes of {end - begin:,}; it was cut")
    elif form == "bzImage":
        setup = data[0x1F1] or 4
        size = (setup + 1) * 512 + 16 * file.number(0x1F4, 4, "header")
        if size > len(data):
            raise file.damaged(f"it has {len(data):,} bytes of {size:,}; it was cut")
        at = file.number(0x20E, 2, "header")
        if at:
            words.append(text(data[at + 0x200 : at + 0x240].split(b" ")[0]))
    if data.startswith(b"MZ"):
        _check_pe(file)
    return Image(path, KIND, (Segment(0, data),), False, architecture, about=", ".join(words))


def _pe_machine(head: bytes) -> str | None:
    at = int.from_bytes(head[0x3C:0x40], "little")
    machine = int.from_bytes(head[at + 4 : at + 6], "little")
    return {0xAA64: "aarch64", 0x5064: "riscv64", 0x8664: "x86_64", 0x1C2: "arm"}.get(machine)


def _check_pe(file: View) -> None:
    """Raise if a section of its PE header is not there; nothing if it has no such header."""
    at = file.number(0x3C, 4, "header")
    if file.data[at : at + 4] != b"PE\0\0":
        return
    count, optional = file.number(at + 6, 2, "PE header"), file.number(at + 20, 2, "PE header")
    for index in range(min(count, _MOST_SECTIONS)):
        entry = at + 24 + optional + 40 * index
        size, begin = (file.number(entry + n, 4, "PE section table") for n in (16, 20))
        if begin + size > len(file):
            raise file.damaged(f"it has {len(file):,} bytes of {begin + size:,}; it was cut")
