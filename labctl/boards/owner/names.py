"""Which line a name meant last: a port that is not plugged in keeps its record."""

from __future__ import annotations

import contextlib
import json
import stat
from pathlib import Path

from labctl.boards.owner.place import lines_dir
from labctl.fileio import write_atomic
from labctl.transport.lines.opening import identify

_FILE = "names.json"
# More names than that of a lab are of no use.
_MOST = 1000


def identity_of(url: str, base: Path | None = None) -> str:
    """Return the identity of the line ``url``; of a port that is not there, what it was last.

    Args:
        url: The line.
        base: Folder of all lines; `lines_dir` by default.

    Raises:
        UsageError: The URL is not one, or its ``udev:`` properties fit several ports.
    """
    identity, known = identify(url)
    if known and not identity.startswith("udev:"):
        return identity
    path = (base or lines_dir()) / _FILE
    names = _read(path)
    if not known:
        return names.get(url, identity)
    if names.get(url) != identity:
        names.pop(url, None)
        kept = dict(list(names.items())[-_MOST + 1 :]) | {url: identity}
        # A folder of somebody else's: what cannot be kept is found out again.
        with contextlib.suppress(OSError):
            shared = bool(path.parent.stat().st_mode & stat.S_IWGRP)
            write_atomic(path, json.dumps(kept, indent=1), mode=0o660 if shared else 0o600)
    return identity


def _read(path: Path) -> dict[str, str]:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in data.items()} if isinstance(data, dict) else {}
