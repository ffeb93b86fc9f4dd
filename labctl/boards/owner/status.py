"""What the owner says of its line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LineStatus:
    """What the owner says of its line.

    Attributes:
        board: The board that it was started for.
        url: The line.
        settings: Rate and format, such as ``115200 8N1``.
        open: The line is there; otherwise ``cause`` says what is wrong.
        cause: Why it is not there, or empty.
        since: Since when, seconds since the epoch.
        begin: Offset of the oldest recorded byte.
        end: Offset after the newest.
        unrecorded: Bytes that could not be written to the record (disk full).
        readers: How many read along.
        lease: The lease, or None (see `labctl.boards.owner.leases.Lease.describe`).
        pid: Process of the owner.
    """

    board: str
    url: str
    settings: str
    open: bool
    cause: str
    since: float
    begin: int
    end: int
    unrecorded: int
    readers: int
    lease: dict[str, Any] | None
    pid: int
