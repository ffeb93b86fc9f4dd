"""ELF executables: what a linker makes.

Sources: Tool Interface Standard, ELF specification 1.2 (headers, ``e_type``, ``PT_LOAD``); System V
ABI, "ELF header" (``e_machine``: the registry at https://www.sco.com/developers/gabi/);
``/usr/include/elf.h`` (EM_RISCV 243, EM_XTENSA 94, EM_AVR 83, EM_AARCH64 183).
"""

from __future__ import annotations

from pathlib import Path

from labctl.boards.flash.formats._view import View
from labctl.boards.flash.image import Image, Segment, join

KIND = "elf"
TITLE = "ELF"
ORDER = 10

_MAGIC = b"\x7fELF"
_EXECUTABLE, _DYNAMIC_TYPE = 2, 3
_TYPES = {
    1: ("an object file, not linked yet", "give the program that the linker made of it"),
    4: ("a core dump", "give the program itself"),
}
_FOR_BOARD = "give the program for the board, linked to its addresses"
# Name of the machine with 32 and with 64 bits.
_MACHINES = {
    3: ("x86", "x86"),
    8: ("mips", "mips64"),
    20: ("powerpc", "powerpc"),
    21: ("powerpc64", "powerpc64"),
    40: ("arm", "arm"),
    62: ("x86_64", "x86_64"),
    83: ("avr", "avr"),
    94: ("xtensa", "xtensa"),
    105: ("msp430", "msp430"),
    183: ("aarch64", "aarch64"),
    243: ("riscv32", "riscv64"),
    258: ("loongarch32", "loongarch64"),
}
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
# Entries of the dynamic section by which a shared library tells itself.
_NEEDED, _SONAME = 1, 14
_NOBITS = 8
_ALLOCATED = 2
# No linker makes more; a damaged count is not worth the time.
_MOST_HEADERS = 4096


def detect(head: bytes, name: str) -> bool:
    """Tell whether the file is of this kind."""
    return head.startswith(_MAGIC)


def read(data: bytes, path: Path) -> Image:
    """Read what it loads, at physical addresses (``p_paddr``), as ``objcopy`` does.

    Raises:
        UsageError: It is damaged, or no executable.
    """
    file = View(data, path, TITLE)
    kind, order = file.number(4, 1, "header"), file.number(5, 1, "header")
    if kind not in (1, 2) or order not in (1, 2):
        raise file.damaged(f"its class is {kind} and its byte order {order}, not 1 or 2")
    file.order = "little" if order == 1 else "big"
    wide = kind == 2
    elf_type, machine = file.number(16, 2, "header"), file.number(18, 2, "header")
    architecture = _MACHINES.get(machine, (f"machine{machine}",) * 2)[wide]
    if elf_type in _TYPES:
        what, action = _TYPES[elf_type]
        raise file.wrong(f"it is {what} (ELF for {architecture})", action)
    # A boot loader that can be moved (U-Boot is one) is of the type of shared objects too.
    if elf_type not in (_EXECUTABLE, _DYNAMIC_TYPE):
        raise file.damaged(f"its type is {elf_type}, where an executable has 2")
    headers = _program_headers(file, wide)
    if any(kind == _INTERPRETER for kind, _, _, _ in headers):
        raise file.wrong(f"it is a program of an operating system ({architecture})", _FOR_BOARD)
    if elf_type == _DYNAMIC_TYPE and _is_library(file, headers, wide):
        raise file.wrong(f"it is a shared object (ELF for {architecture})", _FOR_BOARD)
    entry = file.number(24, 8 if wide else 4, "header")
    segments = _segments(file, headers, wide)
    if not segments:
        raise file.wrong("it has nothing to load", "give a program with code or data in it")
    return Image(path, KIND, segments, True, architecture, None, entry)


_Header = tuple[int, int, int, int]


def _program_headers(file: View, wide: bool) -> list[_Header]:
    """Return type, offset, physical address and size in the file of each program header."""
    word = 8 if wide else 4
    base = file.number(24 + word, word, "header")
    size, count = (file.number((54 if wide else 42) + 2 * n, 2, "header") for n in (0, 1))
    if count and size < (56 if wide else 32):
        raise file.damaged(f"its program headers have {size} bytes each")
    if count > _MOST_HEADERS:
        raise file.damaged(f"it has {count} program headers")
    offset, address, length = (8, 24, 32) if wide else (4, 12, 16)
    found = []
    for index in range(count):
        at, what = base + index * size, f"program header {index}"
        found.append(
            (
                file.number(at, 4, what),
                file.number(at + offset, word, what),
                file.number(at + address, word, what),
                file.number(at + length, word, what),
            )
        )
    return found


def _is_library(file: View, headers: list[_Header], wide: bool) -> bool:
    word = 8 if wide else 4
    for kind, offset, _, length in headers:
        if kind != _DYNAMIC:
            continue
        table = file.take(offset, length, "dynamic section")
        for at in range(0, len(table) - word, 2 * word):
            if int.from_bytes(table[at : at + word], file.order) in (_NEEDED, _SONAME):
                return True
    return False


def _segments(file: View, headers: list[_Header], wide: bool) -> tuple[Segment, ...]:
    """Return what is loaded, ascending."""
    sections = _sections(file, wide)
    found: list[Segment] = []
    total = 0
    for index, (kind, offset, address, length) in enumerate(headers):
        if kind != _LOAD:
            continue
        total += length
        if total > len(file):
            raise file.damaged(f"segment {index} ends beyond the end of the file")
        file.take(offset, length, f"segment {index}")
        for begin, end in _covered(sections, offset, length):
            found.append(Segment(address + begin - offset, file.data[begin:end]))
    for one in found:
        if one.end > 1 << (64 if wide else 32):
            raise file.damaged(f"a segment ends at {one.end:#x}, beyond all addresses")
    try:
        return join(found)
    except ValueError as error:
        raise file.damaged(str(error)) from None


def _sections(file: View, wide: bool) -> list[tuple[int, int]]:
    """Return where in the file the sections with content for the memory are; empty if stripped."""
    word = 8 if wide else 4
    base = file.number(24 + 2 * word, word, "header")
    size, count = (file.number((58 if wide else 46) + 2 * n, 2, "header") for n in (0, 1))
    if not base or not count or count > _MOST_HEADERS or size < (64 if wide else 40):
        return []
    found = []
    for index in range(count):
        at, what = base + index * size, f"section header {index}"
        kind, flags = file.number(at + 4, 4, what), file.number(at + 8, word, what)
        offset, length = (file.number(at + 8 + (2 + n) * word, word, what) for n in (0, 1))
        if kind not in (0, _NOBITS) and flags & _ALLOCATED and length:
            found.append((offset, offset + length))
    return sorted(found)


def _covered(sections: list[tuple[int, int]], offset: int, length: int) -> list[tuple[int, int]]:
    """Return what of a segment is content.

    Linkers let the first segment begin with the file's own headers where its alignment allows it;
    those are no content, and often lie below the flash.
    """
    end = offset + length
    inside = [(begin, stop) for begin, stop in sections if offset <= begin and stop <= end]
    # Overlapping sections, of a damaged file, must not multiply what is read.
    if sum(stop - begin for begin, stop in inside) > length:
        inside = []
    return inside or ([(offset, end)] if length else [])
