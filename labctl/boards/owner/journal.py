"""What was done to a line, one JSON object a line: opened, leased, powered, taken by force.

Each entry has ``time`` (seconds since the epoch), ``offset`` (where the record of the line was)
and ``event``; the rest depends on the event. What is typed is not in it: it may be a password.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_KEEP_BYTES = 4 << 20


class Journal:
    """Appends entries; the file is replaced by an empty one, once kept, when it grows too large.

    Args:
        path: The file.
        mode: Permission bits of a new file.
    """

    def __init__(self, path: Path, *, mode: int = 0o600) -> None:
        self._path = path
        self._mode = mode

    def write(self, event: str, *, time: float, offset: int, **details: object) -> None:
        """Append one entry, in one write; a full disk loses it and nothing else.

        Args:
            event: What happened.
            time: When, seconds since the epoch.
            offset: Where the record of the line was.
            **details: Anything else that JSON can hold.
        """
        line = json.dumps({"time": round(time, 6), "offset": offset, "event": event, **details})
        try:
            if self._path.exists() and self._path.stat().st_size > _KEEP_BYTES:
                self._path.replace(self._path.with_suffix(".old"))
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, self._mode)
        except OSError:
            return
        try:
            os.write(descriptor, line.encode() + b"\n")
        except OSError:
            pass
        finally:
            os.close(descriptor)


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries, oldest first; a line that was cut off is passed over."""
    for one in (path.with_suffix(".old"), path):
        try:
            lines = one.read_text(errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and "event" in entry:
                yield entry
