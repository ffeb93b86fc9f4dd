"""Where history and bookings are kept; apart from what reads them, which is slow to import."""

from __future__ import annotations

import os

from labctl.paths import state_dir
from labctl.store.place import Place

VARIABLE = "LABCTL_GPU_DB"


def database_place() -> Place:
    """Return the place that ``$LABCTL_GPU_DB`` names (a path or a URL), or the user's own file.

    Raises:
        UsageError: It names none, or holds a password.
    """
    return Place.of(os.environ.get(VARIABLE) or state_dir() / "gpu" / "gpu.sqlite")
