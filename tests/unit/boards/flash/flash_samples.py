"""Files to read: those in data/, made by others' programs, and some by hand from specifications."""

import lzma
import struct
from pathlib import Path

from labctl.boards.flash.image import Image, parse_image

DATA = Path(__file__).parent / "data"


def sample(name: str) -> bytes:
    """Return a file of data/; unpacked if it is one that is only packed for its size."""
    path = DATA / name
    if path.exists():
        return path.read_bytes()
    return lzma.decompress((DATA / f"{name}.xz").read_bytes())


def parse(name: str, kind: str | None = None) -> Image:
    """Read a file of data/."""
    return parse_image(sample(name), Path(name), kind=kind)


def names() -> list[str]:
    """Return the names of the files of data/, the packed disks and flashes without '.xz'."""
    return sorted(one.name.removesuffix(".xz") for one in DATA.iterdir() if one.stem != "content")


def uf2(data: bytes, address: int, *, family: int | None, size: int = 256) -> bytes:
    """Return UF2 blocks, after the table "File format" of its specification."""
    total = -(-len(data) // size)
    flags = 0 if family is None else 0x2000
    blocks = []
    for number in range(total):
        piece = data[number * size : (number + 1) * size]
        head = struct.pack(
            "<8I", 0x0A324655, 0x9E5D5157, flags, address + number * size, len(piece), number,
            total, family or 0,
        )  # fmt: skip
        blocks.append(head + piece.ljust(476, b"\0") + struct.pack("<I", 0x0AB16F30))
    return b"".join(blocks)


def arm64_image() -> bytes:
    """Return the header of Documentation/arch/arm64/booting.rst, and some code."""
    return struct.pack("<IIQQQQQQ4sI", 0x91005A4D, 0x14000000, 0, 0x200000, 0xA, 0, 0, 0,
                       b"ARM\x64", 0) + bytes(range(256)) * 8  # fmt: skip


def riscv_image() -> bytes:
    """Return the header of Documentation/arch/riscv/boot-image-header.rst, and some code."""
    return struct.pack("<IIQQQIIQ8s4sI", 0x5A4D, 0x6F, 0x200000, 0x300000, 0, 2, 0, 0,
                       b"RISCV\0\0\0", b"RSC\x05", 0) + bytes(range(256)) * 8  # fmt: skip


def zimage() -> bytes:
    """Return what arch/arm/boot/compressed/head.S begins with, and some code."""
    body = bytes(range(256)) * 8
    head = struct.pack("<8I", *[0xE1A00000] * 8) + struct.pack(
        "<5I", 0xE1A00000, 0x016F2818, 0, 52 + len(body), 0x04030201
    )
    return head + body


def bzimage() -> bytes:
    """Return the real-mode header of Documentation/arch/x86/boot.rst, for 64 bits, with a name."""
    setup, system = 4, 64
    image = bytearray((setup + 1) * 512 + system * 16)
    struct.pack_into("<BHIHHH", image, 0x1F1, setup, 0, system, 0, 0, 0)
    image[0x1FE:0x200] = b"\x55\xaa"
    image[0x202:0x208] = b"HdrS" + struct.pack("<H", 0x20F)
    struct.pack_into("<H", image, 0x20E, 0x100)
    struct.pack_into("<H", image, 0x236, 1)
    image[0x300:0x30A] = b"6.1.0-lab "
    return bytes(image)


def android_sparse() -> bytes:
    """Return the header of sparse_format.h, one raw chunk and one to skip."""
    head = struct.pack("<IHHHHIIII", 0xED26FF3A, 1, 0, 28, 12, 4096, 3, 2, 0)
    raw = struct.pack("<HHII", 0xCAC1, 0, 1, 12 + 4096) + bytes(4096)
    return head + raw + struct.pack("<HHII", 0xCAC3, 0, 2, 12)


def by_hand() -> dict[str, bytes]:
    """Return the files made here, by name."""
    return {
        "rp2040.uf2": uf2(bytes(range(256)) * 4, 0x10000000, family=0xE48BFF56),
        "Image": arm64_image(),
        "Image-riscv": riscv_image(),
        "zImage": zimage(),
        "bzImage": bzimage(),
        "sparse.img": android_sparse(),
    }
