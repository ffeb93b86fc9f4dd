"""Find the inventory file, read it within limits, and name every mistake in it."""

from __future__ import annotations

import os
from pathlib import Path

from labctl.errors import UsageError
from labctl.inventory.cache import keep, recall
from labctl.inventory.endpoints import read_board_endpoints, read_endpoints
from labctl.inventory.model import Inventory
from labctl.inventory.textfile import is_file, read_text
from labctl.inventory.virtual import join
from labctl.paths import config_dir

FILE_NAME = "inventory.yaml"
VARIABLE = "LABCTL_INVENTORY"


def find_inventory(explicit: str | None) -> Path:
    """Return the inventory file to use.

    Looked at in this order: ``explicit``, ``$LABCTL_INVENTORY``, ``inventory.yaml`` in the current
    folder and those above it, ``inventory.yaml`` in the user's configuration folder.

    Args:
        explicit: What ``--inventory`` said, or None.

    Raises:
        UsageError: There is none; says where it was looked for.
    """
    for source, value in (("--inventory", explicit), (f"${VARIABLE}", os.environ.get(VARIABLE))):
        if value:
            path = Path(value).expanduser()
            if not path.exists():
                raise UsageError(
                    f"no such file ({source})", thing=value, action=f"correct {source}"
                )
            return path
    try:
        here = Path.cwd()
    except OSError:  # the current folder was removed
        here = Path("/")
    for folder in (here, *here.parents):
        if is_file(folder / FILE_NAME):
            return folder / FILE_NAME
    own = config_dir() / FILE_NAME
    if is_file(own):
        return own
    raise UsageError(
        f"no {FILE_NAME} in {here} or above it, nor {own}",
        thing="inventory",
        action=f"write one, name it with --inventory or ${VARIABLE}, "
        "or make one with 'labctl inventory import ~/.ssh/config -o inventory.yaml'",
    )


def load_inventory(path: Path) -> Inventory:
    """Read and check the inventory file ``path`` and apply its groups and the running lab.

    Raises:
        InventoryError: The file cannot be read, or has mistakes; carries all of them.
    """
    text = read_text(path, what="an inventory")
    absolute = path.absolute()
    static = recall(absolute, text)
    if static is None:
        # The validator takes a quarter of a second to import; see the cache.
        from labctl.inventory.compiling import compile_text  # noqa: PLC0415

        static = compile_text(text, path)
        keep(absolute, text, static)
    return join(static, read_endpoints(absolute), read_board_endpoints(absolute))
