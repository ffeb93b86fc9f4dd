"""Folders of runs in labctl's state folder; old ones go away, those in use never do."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from labctl.errors import BusyError
from labctl.fileio import locked
from labctl.paths import make_private, state_dir

KEPT_RUNS = 20
_LOCK = "in-use"


def runs_dir() -> Path:
    """Return the folder of all runs; may not exist."""
    return state_dir() / "fpga" / "runs"


@contextlib.contextmanager
def new_run() -> Iterator[Path]:
    """Give a new folder for a run, and keep others from taking it away while the block runs."""
    base = make_private(runs_dir())
    _forget_old(base)
    folder = base / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    number = 0
    while True:
        place = folder if number == 0 else folder.with_name(f"{folder.name}-{number}")
        try:
            place.mkdir(mode=0o700)
            break
        except FileExistsError:
            number += 1
    with locked(place / _LOCK, what=f"run {place.name}"):
        yield place


def _forget_old(base: Path) -> None:
    runs = sorted(one for one in base.iterdir() if one.is_dir())
    for old in runs[: -KEPT_RUNS + 1]:
        with (
            contextlib.suppress(BusyError, OSError),
            locked(old / _LOCK, what=old.name, wait=False),
        ):
            shutil.rmtree(old, ignore_errors=True)
