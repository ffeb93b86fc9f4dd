"""The image of a box: a folder with ``root.img`` (raw ext4), ``vmlinuz`` and ``initrd``.

When root built it, it also has the unpacked tree ``root/``, which light boxes stand on.
"""

from __future__ import annotations

import os

from labctl.vlab import builder, store
from labctl.vlab.programs import (
    BUILD_PROGRAMS,
    KEYRING,
    KEYRING_PACKAGE,
    ROOTLESS_PROGRAMS,
    require,
)
from labctl.vlab.recipe import Recipe
from labctl.vlab.steps import Progress
from labctl.vlab.store import Image, Plan


def ensure_image(progress: Progress, *, tree: bool | None = None, force: bool = False) -> Image:
    """Return the image for boxes on this host, building it if the cache does not have it.

    Args:
        progress: Gets a line for each step.
        tree: Keep the unpacked tree; by default where the caller is root.
        force: Build anew even where the cache has it (for fresh packages).

    Raises:
        DependencyError: Programs are missing.
        BusyError: ``force``, and running machines stand on the image.
        LabctlError: The build failed; the message holds its last lines.
    """
    recipe = Recipe.of_this_host(tree=os.geteuid() == 0 if tree is None else tree)
    plan = Plan(
        kind="box",
        title="Debian 12",
        key=recipe.key(),
        announcement="building the Debian 12 image (once; about a minute and a half)",
        require=_require,
        build=lambda work, say: builder.build(recipe, work, say),
        facts={"sources": list(recipe.sources), "packages": list(recipe.packages)},
    )
    return store.ensure(plan, progress, force=force)


def _require() -> None:
    rootless = {} if os.geteuid() == 0 else ROOTLESS_PROGRAMS
    require(BUILD_PROGRAMS, rootless, files=[(KEYRING, KEYRING_PACKAGE)])


def current_keys() -> set[str]:
    """Return the keys of the images that boxes on this host would use."""
    return {Recipe.of_this_host(tree=tree).key() for tree in (False, True)}
