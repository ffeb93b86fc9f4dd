"""Numbers and names that U-Boot gives to processors, kinds of images and compressions.

Source: U-Boot, include/image.h (``IH_ARCH_*``, ``IH_TYPE_*``, ``IH_COMP_*``) and the tables of
boot/image.c (their names in a FIT).
"""

from __future__ import annotations

# Processors, as in Image.architecture. U-Boot's "riscv" says no width; nor does "riscv" here.
ARCHITECTURES = {
    2: "arm",
    3: "x86",
    5: "mips",
    6: "mips64",
    7: "powerpc",
    12: "m68k",
    14: "microblaze",
    15: "nios2",
    21: "openrisc",
    22: "aarch64",
    24: "x86_64",
    25: "xtensa",
    26: "riscv",
}
# Names in a FIT that are not those above.
FIT_ARCHITECTURES = {"arm64": "aarch64", "ppc": "powerpc", "or1k": "openrisc"}
TYPES = {
    1: "standalone program",
    2: "kernel",
    3: "ramdisk",
    4: "several files",
    5: "firmware",
    6: "script",
    7: "file system",
    8: "device tree",
    14: "kernel",
}
COMPRESSIONS = {1: "gzip", 2: "bzip2", 3: "lzma", 4: "lzo", 5: "lz4", 6: "zstd"}
