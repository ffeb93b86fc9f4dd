"""What Intel HEX and S-records share: lines of hexadecimal digits that carry addresses."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from labctl.boards.flash.image import Segment, join
from labctl.errors import UsageError


class Records:
    """Collects the data of records; those that follow each other become one segment.

    Args:
        path: The file, for messages.
        title: What kind of file it is, for messages.
    """

    def __init__(self, path: Path, title: str) -> None:
        self.path = path
        self.title = title
        self._parts: list[tuple[int, int, list[bytes]]] = []
        self._line, self._begin, self._next = 0, 0, -1
        self._run: list[bytes] = []

    def damaged(self, line: int, cause: str) -> UsageError:
        """Return the error that names the line."""
        return UsageError(
            f"this {self.title} is damaged: {cause}",
            thing=f"{self.path}:{line}",
            action="build or copy it again",
        )

    def add(self, line: int, address: int, data: bytes) -> None:
        """Add the data of the record in ``line``."""
        if address != self._next:
            self._line, self._begin, self._run = line, address, []
            self._parts.append((line, address, self._run))
        self._run.append(data)
        self._next = address + len(data)

    def segments(self) -> tuple[Segment, ...]:
        """Return what was collected.

        Raises:
            UsageError: Two records give the same address.
        """
        found = [
            (Segment(address, b"".join(parts)), line)
            for line, address, parts in self._parts
            if any(parts)
        ]
        found.sort(key=lambda one: one[0].address)
        for (before, first), (after, second) in pairwise(found):
            if after.address < before.end:
                raise self.damaged(
                    max(first, second),
                    f"the data here overlaps that from line {min(first, second)} on, "
                    f"at {after.address:#x}",
                )
        return join(one for one, _ in found)


def lines_of(data: bytes) -> list[str]:
    """Return its lines without what is around them; what is no ASCII stays visible as such."""
    return data.decode("ascii", errors="replace").split("\n")
