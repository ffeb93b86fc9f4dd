"""Read a text file that a person named, perhaps by mistake, within limits."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from labctl.inventory.diagnostics import Diagnostic, InventoryError, shown_path

# Bytes. A thousand hosts with all settings are below a third of it.
MAX_SIZE = 1024 * 1024


def is_file(path: Path) -> bool:
    """Tell whether ``path`` is a file; False too where a folder on the way is closed to us."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_text(path: Path, *, what: str) -> str:
    """Return the text of a file that a person may have named by mistake.

    Args:
        path: The file.
        what: What it should be, for messages (``an inventory``).

    Raises:
        InventoryError: Not a regular file, larger than `MAX_SIZE`, binary, not UTF-8, empty, or
            not readable.
    """
    shown = shown_path(path)

    def refuse(message: str, line: int = 1, column: int = 1) -> InventoryError:
        return InventoryError(shown, [Diagnostic(line, column, message)])

    try:
        # O_NONBLOCK: opening a named pipe must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a valid file name"
        raise refuse(f"cannot be opened: {reason}; name a readable file") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise refuse(f"this is {kind}; name the file of {what}")
        if status.st_size > MAX_SIZE:
            raise refuse(
                f"{status.st_size} bytes are too large for {what} (at most {MAX_SIZE}); "
                "name the right file, or split it"
            )
        # A file of /proc says 0 and gives more; one that grows meanwhile is caught as well.
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            raw = stream.read(MAX_SIZE + 1)
    except OSError as error:
        raise refuse(f"cannot be read: {error.strerror}; name a readable file") from None
    finally:
        os.close(descriptor)
    if len(raw) > MAX_SIZE:
        raise refuse(f"too large for {what} (at most {MAX_SIZE} bytes); name the right file")
    return decode(raw, shown, what=what)


def decode(raw: bytes, shown: str, *, what: str) -> str:
    """Return ``raw`` as text.

    Raises:
        InventoryError: Empty, binary or not UTF-8.
    """

    def refuse(message: str, position: int) -> InventoryError:
        before = raw[:position].decode("utf-8", errors="replace")
        line = before.count("\n") + 1
        return InventoryError(shown, [Diagnostic(line, position_column(before), message)])

    if not raw.strip():
        raise refuse(f"the file is empty; write {what}, at least 'hosts: {{}}'", 0)
    nul = raw.find(b"\0")
    if nul >= 0:
        raise refuse(f"a binary file (it contains NUL); name the text file of {what}", nul)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse("not UTF-8 text; save the file as UTF-8", error.start) from None


def position_column(before: str) -> int:
    """Return the column, from 1, of the character that follows ``before``."""
    return len(before) - (before.rfind("\n") + 1) + 1
