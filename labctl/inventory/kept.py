"""Readings of data files that were found right, kept so that they need not be checked again.

Checking takes a quarter of a second, nearly all of it to import the validator; a command should
not pay that for a file that it found right a moment ago. A reading counts only under its key, which
stands for all that it depends on; anything else, or a damaged entry, is as good as none. It holds
nothing that the file itself does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from labctl.fileio import write_atomic
from labctl.paths import cache_dir, make_private


def recall_reading(room: str, name: str, key: str) -> Any | None:  # noqa: ANN401 - what JSON holds
    """Return what was kept of ``name`` under ``key``, or None.

    Args:
        room: Folder below the cache folder.
        name: What it is the reading of, such as a path.
        key: See `key_of`.
    """
    try:
        kept = json.loads(_place(room, name).read_text(encoding="utf-8"))
        return kept["data"] if kept["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def keep_reading(room: str, name: str, key: str, data: object) -> None:
    """Keep ``data`` for the next time; a cache that cannot be written is no reason to fail."""
    content = json.dumps({"key": key, "data": data})
    with contextlib.suppress(OSError):
        make_private(_place(room, name).parent)
        write_atomic(_place(room, name), content)


def key_of(*facts: object, code: Iterable[Path]) -> str:
    """Return the key of a reading that depends on ``facts`` and on the files ``code``.

    The code's own files stand for its version while it is being worked on.
    """
    stamps = [(one.name, one.stat().st_mtime_ns, one.stat().st_size) for one in sorted(set(code))]
    return _digest(repr((facts, stamps)))


def _place(room: str, name: str) -> Path:
    return cache_dir() / room / f"{_digest(name)[:16]}.json"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
