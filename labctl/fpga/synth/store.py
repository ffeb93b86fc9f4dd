"""Results of synthesis, found again by their content, like compiled simulations."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from labctl.paths import cache_dir, make_private

# Changes when results are made in another way.
_FORMAT = "1"


def kept(kind: str, facts: object, make: Callable[[Path], None]) -> tuple[Path, bool]:
    """Return the folder of what depends on ``facts``, made by ``make`` if it is not there yet.

    It is made in a folder of its own and renamed into place, so that others see all of it or
    nothing.

    Args:
        kind: What it is: the name of a folder.
        facts: All that it depends on, as JSON can hold it.
        make: Fills a folder; what it raises is passed on, and nothing is kept.

    Returns:
        The folder, and whether it was made now.
    """
    text = json.dumps([_FORMAT, facts])
    key = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:40]
    place = make_private(cache_dir() / "fpga" / kind) / key
    if place.is_dir():
        with contextlib.suppress(OSError):
            os.utime(place)  # its last use
        return place, False
    folder = Path(tempfile.mkdtemp(dir=place.parent, prefix=".new-"))
    try:
        make(folder)
        try:
            folder.rename(place)
        except OSError:
            if not place.is_dir():
                raise
            # Somebody else was quicker: theirs is the same.
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return place, True
