"""Programs that show waves."""

from __future__ import annotations

import os
import shutil

from labctl.errors import DependencyError, UnreachableError

_VIEWERS = ("surfer", "gtkwave")


def viewer() -> str:
    """Return the first viewer that is installed.

    Raises:
        DependencyError: None is.
        UnreachableError: There is no display to show it on.
    """
    found = next(filter(None, map(shutil.which, _VIEWERS)), None)
    if found is None:
        raise DependencyError(
            "no viewer of waves is installed",
            thing=" or ".join(_VIEWERS),
            action="apt install gtkwave, or use --print",
        )
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UnreachableError(
            "there is no display here", thing=found, action="use --print and copy the file"
        )
    return found
