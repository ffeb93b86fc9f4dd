"""Where labctl keeps things: the XDG base directories.

Source: XDG Base Directory Specification 0.8, https://specifications.freedesktop.org/basedir-spec/.
"""

from __future__ import annotations

import os
from pathlib import Path


def _xdg(variable: str, fallback: str) -> Path:
    value = os.environ.get(variable, "")
    # The specification: a relative path is invalid and must be ignored.
    base = Path(value) if value.startswith("/") else Path.home() / fallback
    return base / "labctl"


def config_dir() -> Path:
    """Return the folder of the user's own settings (``~/.config/labctl``); may not exist."""
    return _xdg("XDG_CONFIG_HOME", ".config")


def state_dir() -> Path:
    """Return the folder of journals, locks and running labs (``~/.local/state/labctl``)."""
    return _xdg("XDG_STATE_HOME", ".local/state")


def data_dir() -> Path:
    """Return the folder of data worth keeping, such as labctl's own key pair."""
    return _xdg("XDG_DATA_HOME", ".local/share")


def cache_dir() -> Path:
    """Return the folder of what can be rebuilt, such as virtual machine images."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def make_private(folder: Path) -> Path:
    """Create ``folder`` (and its parents) readable by its owner only, and return it.

    What is there already keeps its mode. The specification wants 0700 of the folders made here.
    """
    # Path.mkdir gives its mode to the last folder only.
    for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    return folder


def board_dirs(inventory: Path | None) -> list[Path]:
    """Return where models of boards (``<model>/board.yaml``) are looked for; the first wins.

    They are ``boards`` beside the inventory file, ``boards`` in the user's configuration folder,
    and the models that labctl brings along. Some of them may not exist.

    Args:
        inventory: The inventory file, or None where there is none.
    """
    own = [] if inventory is None else [inventory.absolute().parent / "boards"]
    places = [*own, config_dir() / "boards", shipped_boards()]
    return list(dict.fromkeys(places))


def shipped_boards() -> Path:
    """Return the folder of the models that labctl brings along."""
    package = Path(__file__).absolute().parent
    # The wheel has them inside the package (see pyproject.toml); a clone has them at its root.
    inside = package / "_boards"
    return inside if inside.is_dir() else package.parent / "boards"
