"""Numbers and pieces of a file, none of them beyond its end."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from labctl.errors import UsageError

Order = Literal["little", "big"]


class View:
    """The bytes of a file, read without ever reaching beyond them.

    Args:
        data: The bytes.
        path: The file, for messages.
        title: What kind of file it is, for messages: ``ELF``.
        order: Byte order of its numbers.
    """

    def __init__(self, data: bytes, path: Path, title: str, order: Order = "little") -> None:
        self.data = data
        self.path = path
        self.title = title
        self.order: Order = order

    def __len__(self) -> int:
        """Return how many bytes there are."""
        return len(self.data)

    def damaged(self, cause: str) -> UsageError:
        """Return the error that says that the file is damaged."""
        return UsageError(
            f"this {self.title} is damaged: {cause}",
            thing=str(self.path),
            action="build or copy it again",
        )

    def wrong(self, cause: str, action: str) -> UsageError:
        """Return the error that says that the file is whole, but is not what can be flashed."""
        return UsageError(cause, thing=str(self.path), action=action)

    def take(self, offset: int, size: int, what: str) -> bytes:
        """Return ``size`` bytes at ``offset``, which are ``what``.

        Raises:
            UsageError: The file ends before.
        """
        if offset < 0 or size < 0 or offset + size > len(self.data):
            raise self.damaged(
                f"its {what} ends at {offset + size:#x}, but the file has {len(self.data):#x} bytes"
            )
        return self.data[offset : offset + size]

    def number(self, offset: int, size: int, what: str) -> int:
        """Return the number of ``size`` bytes at ``offset``.

        Raises:
            UsageError: The file ends before.
        """
        return int.from_bytes(self.take(offset, size, what), self.order)


def text(raw: bytes, limit: int = 64) -> str:
    """Return a name that a file gives, up to its zero byte, fit to be shown."""
    plain = raw.split(b"\0", 1)[0][:limit].decode("ascii", errors="replace")
    return "".join(one if one.isprintable() else "?" for one in plain).strip()
