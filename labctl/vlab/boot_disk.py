"""A disk that U-Boot boots from: a partition table and one ext4 partition with files.

Sources: UEFI specification 5.2.1 (legacy master boot record), mke2fs(8) (``-d``, ``-E offset``).
"""

from __future__ import annotations

import struct
from pathlib import Path

from labctl.vlab import steps
from labctl.vlab.steps import Progress

_SECTOR = 512
_MIB = 1 << 20
_FIRST_SECTOR = _MIB // _SECTOR  # where partitioning tools begin the first partition
_TABLE_AT = 446
_ACTIVE = 0x80
_LINUX = 0x83
_NO_CHS = b"\xfe\xff\xff"  # "beyond what cylinder, head and sector can say"
# U-Boot 2023.01 writes neither checksummed metadata nor 64-bit block numbers (fs/ext4).
_FEATURES = "^metadata_csum,^64bit,^has_journal"


def partition_table(size_mib: int) -> bytes:
    """Return the first sector of a disk of ``size_mib`` MiB with one active Linux partition."""
    sectors = size_mib * _MIB // _SECTOR - _FIRST_SECTOR
    entry = struct.pack(
        "<B3sB3sII", _ACTIVE, _NO_CHS, _LINUX, _NO_CHS, _FIRST_SECTOR, sectors
    )  # fmt: skip
    return (bytes(_TABLE_AT) + entry).ljust(_SECTOR - 2, b"\0") + b"\x55\xaa"


def make_disk(
    disk: Path, size_mib: int, files: Path, work: Path, progress: Progress, *, thing: str
) -> None:
    """Write a sparse disk image.

    Args:
        disk: The file to write.
        size_mib: Its size, MiB.
        files: Folder whose content the partition gets.
        work: Folder of the build.
        progress: Gets a line for each step.
        thing: What the disk is for, for messages.

    Raises:
        LabctlError: mkfs.ext4 failed, for example as the files do not fit.
    """
    with disk.open("wb") as stream:
        stream.write(partition_table(size_mib))
        stream.truncate(size_mib * _MIB)
    steps.run(
        ["mkfs.ext4", "-q", "-F", "-L", "boot", "-O", _FEATURES,
         "-E", f"offset={_FIRST_SECTOR * _SECTOR},root_owner=0:0",
         "-d", str(files), str(disk), f"{(size_mib - 1) * _MIB // 1024}k"],
        progress, work, thing=thing,
    )  # fmt: skip
