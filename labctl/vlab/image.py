"""The cache of box images: find, build once, replace whole, prune.

An image is a folder ``images/KEY`` with ``root.img`` (raw ext4), ``vmlinuz``, ``initrd``,
``image.json`` and, when root built it, the unpacked tree ``root/``. It is built in a folder of its
own beside it and renamed into place, so a folder with that name is always whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from labctl.errors import BusyError
from labctl.fileio import locked, write_atomic
from labctl.paths import cache_dir, make_private
from labctl.vlab import builder
from labctl.vlab.programs import (
    BUILD_PROGRAMS,
    KEYRING,
    KEYRING_PACKAGE,
    ROOTLESS_PROGRAMS,
    require,
)
from labctl.vlab.recipe import Recipe
from labctl.vlab.state import all_records

Progress = Callable[[str], None]
_BUILDING = ".building-"
_LOCK = ".lock"


@dataclass(frozen=True)
class Image:
    """A whole image in the cache.

    Attributes:
        folder: Its folder.
        key: Name of the folder, see `Recipe.key`.
        kernel: Kernel release.
        built: When it was built, seconds since the epoch.
        seconds: How long that took.
    """

    folder: Path
    key: str
    kernel: str
    built: float
    seconds: float

    @property
    def disk(self) -> Path:
        """The raw disk image that overlays stand on."""
        return self.folder / "root.img"

    @property
    def vmlinuz(self) -> Path:
        """The kernel."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The RAM disk that all boxes share."""
        return self.folder / "initrd"

    @property
    def tree(self) -> Path:
        """The unpacked root folder (only when root built the image)."""
        return self.folder / "root"

    def size_bytes(self) -> int:
        """Return the space that it takes on disk."""
        total = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with contextlib.suppress(OSError):
                    total += Path(folder, name).lstat().st_blocks * 512
        return total


def images_dir() -> Path:
    """Return the folder of all images."""
    return cache_dir() / "images"


def _read(folder: Path) -> Image | None:
    try:
        data = json.loads((folder / "image.json").read_text())
        return Image(folder, data["key"], data["kernel"], data["built"], data["seconds"])
    except (OSError, ValueError, KeyError):
        return None


def cached_images() -> list[Image]:
    """Return all whole images, newest first."""
    if not images_dir().is_dir():
        return []
    folders = [path for path in images_dir().iterdir() if not path.name.startswith(".")]
    images = [image for folder in folders if (image := _read(folder))]
    return sorted(images, key=lambda image: -image.built)


def ensure_image(progress: Progress, *, tree: bool | None = None, force: bool = False) -> Image:
    """Return the image for this host, building it if the cache does not have it.

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
    key = recipe.key()
    target = images_dir() / key
    if not force and (image := _read(target)):
        return image
    rootless = {} if os.geteuid() == 0 else ROOTLESS_PROGRAMS
    require(BUILD_PROGRAMS, rootless, files=[(KEYRING, KEYRING_PACKAGE)])
    make_private(images_dir())
    with _build_lock(progress):
        if not force and (image := _read(target)):
            return image  # another labctl built it while we waited
        if force and target.name in keys_in_use():
            raise BusyError(
                "running machines stand on it", thing=f"image {key}", action="labctl lab down first"
            )
        clear_remains()
        return _build(recipe, target, progress)


@contextlib.contextmanager
def _build_lock(progress: Progress) -> Iterator[None]:
    path = images_dir() / _LOCK
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(path, what="image cache", wait=False))
        except BusyError:
            progress("another labctl is building an image; waiting for it")
            stack.enter_context(locked(path, what="image cache"))
        yield


def _build(recipe: Recipe, target: Path, progress: Progress) -> Image:
    started = time.monotonic()
    work = Path(tempfile.mkdtemp(dir=images_dir(), prefix=_BUILDING))
    try:
        progress("building the Debian 12 image (once; about a minute and a half)")
        kernel = builder.build(recipe, work, progress)
        seconds = round(time.monotonic() - started, 1)
        image = Image(target, target.name, kernel, time.time(), seconds)
        facts = {
            **{name: value for name, value in asdict(image).items() if name != "folder"},
            "sources": list(recipe.sources),
            "packages": list(recipe.packages),
        }
        write_atomic(work / "image.json", json.dumps(facts, indent=2))
        old = None
        if target.exists():  # forced, or damaged: no image.json in it
            old = Path(tempfile.mkdtemp(dir=images_dir(), prefix=_BUILDING)) / "old"
            target.rename(old)
        work.rename(target)
    finally:
        # Also after success: what a forced build replaced.
        clear_remains()
    progress(f"image built in {seconds:.0f} s")
    return image


def clear_remains() -> int:
    """Remove what builds that were cut short left behind; call with the build lock held."""
    count = 0
    for path in images_dir().glob(f"{_BUILDING}*"):
        builder.remove_tree(path)
        count += 1
    return count


def keys_in_use() -> set[str]:
    """Return the keys of images that machines of this user's labs stand on."""
    return {record.image for record in all_records()}


def prune(progress: Progress) -> list[str]:
    """Remove images that no machine stands on and that this host would not use again.

    Returns:
        The keys removed.
    """
    if not images_dir().is_dir():
        return []
    current = {Recipe.of_this_host(tree=tree).key() for tree in (False, True)}
    removed = []
    with _build_lock(progress):
        clear_remains()
        for image in cached_images():
            if image.key in current or image.key in keys_in_use():
                continue
            gone = images_dir() / f"{_BUILDING}{image.key}"
            image.folder.rename(gone)
            builder.remove_tree(gone)
            removed.append(image.key)
            progress(f"removed image {image.key}")
    return removed
