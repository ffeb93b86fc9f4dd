"""Where history and bookings are kept; apart from what reads them, which is slow to import."""

from __future__ import annotations

import os
from pathlib import Path

from labctl.paths import state_dir


def database_path() -> Path:
    """Return the file: ``$LABCTL_GPU_DB``, or the user's own; it may not exist."""
    named = os.environ.get("LABCTL_GPU_DB")
    return Path(named) if named else state_dir() / "gpu" / "gpu.sqlite"
