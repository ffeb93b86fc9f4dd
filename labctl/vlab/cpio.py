"""Write a cpio archive in the "newc" format, which the kernel unpacks as its initial RAM disk.

Source: Documentation/driver-api/early-userspace/buffer-format.rst of the Linux kernel. Several
archives may follow each other, each padded to 4 bytes; later files replace earlier ones.
"""

from __future__ import annotations

import stat


class CpioWriter:
    """Collects files in memory; owner root and time zero, so equal input gives equal bytes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._inode = 0
        self._folders: set[str] = set()

    def add_folder(self, name: str, mode: int = 0o755) -> None:
        """Add the folder ``name`` (relative) and those above it, each once."""
        if not name or name in self._folders:
            return
        self.add_folder(name.rpartition("/")[0])
        self._folders.add(name)
        self._entry(name, stat.S_IFDIR | mode, b"")

    def add_file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """Add the regular file ``name`` (relative) and the folders above it."""
        self.add_folder(name.rpartition("/")[0])
        self._entry(name, stat.S_IFREG | mode, data)

    def add_link(self, name: str, target: str) -> None:
        """Add the symbolic link ``name`` that points to ``target``."""
        self.add_folder(name.rpartition("/")[0])
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def finish(self) -> bytes:
        """Return the archive, padded to 4 bytes."""
        self._entry("TRAILER!!!", 0, b"")
        return b"".join(self._parts)

    def _entry(self, name: str, mode: int, data: bytes) -> None:
        self._inode += 1
        raw = name.encode() + b"\0"
        # ino, mode, uid, gid, nlink, mtime, size, device major/minor twice, name size, checksum
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
        self._parts += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]
