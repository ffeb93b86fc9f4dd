"""The cache of images: find, build once, replace whole, prune.

An image is a folder ``images/KEY`` with ``image.json`` in it. It is built in a folder of its own
beside it and renamed into place, so a folder with that name is always whole. Two builders wait
for each other; what a killed one left behind is cleared by the next.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labctl.errors import BusyError
from labctl.fileio import locked, write_atomic
from labctl.paths import cache_dir, make_private
from labctl.vlab.state import all_records
from labctl.vlab.steps import Progress, remove_tree

_BUILDING = ".building-"
_LOCK = ".lock"
_FACTS = "image.json"


@dataclass(frozen=True)
class Image:
    """A whole image in the cache.

    Attributes:
        folder: Its folder.
        key: Name of the folder; it follows all that decides the content.
        kernel: Kernel release.
        built: When it was built, seconds since the epoch.
        seconds: How long that took.
        kind: ``box`` or ``board``.
        title: What it holds, in a few words.
    """

    folder: Path
    key: str
    kernel: str
    built: float
    seconds: float
    kind: str = "box"
    title: str = "Debian 12"

    @property
    def disk(self) -> Path:
        """The raw disk image that overlays stand on."""
        return self.folder / ("root.img" if self.kind == "box" else "disk.img")

    @property
    def vmlinuz(self) -> Path:
        """The kernel (of a box)."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The RAM disk that all boxes share."""
        return self.folder / "initrd"

    @property
    def tree(self) -> Path:
        """The unpacked root folder (of a box, only when root built the image)."""
        return self.folder / "root"

    @property
    def boot(self) -> Path:
        """What is on a board's disk, as a folder: kernel, RAM disk, boot menu."""
        return self.folder / "boot"

    def size_bytes(self) -> int:
        """Return the space that it takes on disk."""
        total = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with contextlib.suppress(OSError):
                    total += Path(folder, name).lstat().st_blocks * 512
        return total


@dataclass(frozen=True)
class Plan:
    """How an image is made.

    Attributes:
        kind: ``box`` or ``board``.
        title: What it holds, in a few words.
        key: Name of its folder.
        announcement: What is said before it is built.
        require: Checks that the programs for building are there.
        build: Fills the empty folder that it gets; returns the kernel release.
        facts: More to be written into its ``image.json``.
    """

    kind: str
    title: str
    key: str
    announcement: str
    require: Callable[[], None]
    build: Callable[[Path, Progress], str]
    facts: Mapping[str, object] = field(default_factory=dict)


def images_dir() -> Path:
    """Return the folder of all images."""
    return cache_dir() / "images"


def _read(folder: Path) -> Image | None:
    try:
        data = json.loads((folder / _FACTS).read_text())
        return Image(
            folder, data["key"], data["kernel"], data["built"], data["seconds"],
            data.get("kind", "box"), data.get("title", "Debian 12"),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def cached_images() -> list[Image]:
    """Return all whole images, newest first."""
    if not images_dir().is_dir():
        return []
    folders = [path for path in images_dir().iterdir() if not path.name.startswith(".")]
    images = [image for folder in folders if (image := _read(folder))]
    return sorted(images, key=lambda image: -image.built)


def ensure(plan: Plan, progress: Progress, *, force: bool = False) -> Image:
    """Return the image of ``plan``, building it if the cache does not have it.

    Args:
        plan: How it is made.
        progress: Gets a line for each step.
        force: Build anew even where the cache has it (for fresh packages).

    Raises:
        DependencyError: Programs are missing.
        BusyError: ``force``, and running machines stand on the image.
        LabctlError: The build failed; the message holds its last lines.
    """
    target = images_dir() / plan.key
    if not force and (image := _read(target)):
        return image
    plan.require()
    make_private(images_dir())
    with _build_lock(progress):
        if not force and (image := _read(target)):
            return image  # another labctl built it while we waited
        if force and target.name in keys_in_use():
            raise BusyError(
                "running machines stand on it",
                thing=f"image {plan.key}",
                action="labctl lab down first",
            )
        _clear_remains()
        return _build(plan, target, progress)


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


def _build(plan: Plan, target: Path, progress: Progress) -> Image:
    started = time.monotonic()
    work = Path(tempfile.mkdtemp(dir=images_dir(), prefix=_BUILDING))
    try:
        progress(plan.announcement)
        kernel = plan.build(work, progress)
        seconds = round(time.monotonic() - started, 1)
        known = {
            "key": plan.key, "kernel": kernel, "built": time.time(), "seconds": seconds,
            "kind": plan.kind, "title": plan.title,
        }  # fmt: skip
        write_atomic(work / _FACTS, json.dumps({**known, **plan.facts}, indent=2))
        if target.exists():  # forced, or damaged: no image.json in it
            old = Path(tempfile.mkdtemp(dir=images_dir(), prefix=_BUILDING)) / "old"
            target.rename(old)
        work.rename(target)
    finally:
        # Also after success: what a forced build replaced.
        _clear_remains()
    progress(f"image built in {seconds:.0f} s")
    image = _read(target)
    assert image is not None
    return image


def _clear_remains() -> None:
    """Remove what builds that were cut short left behind; call with the build lock held."""
    for path in images_dir().glob(f"{_BUILDING}*"):
        remove_tree(path)


def keys_in_use() -> set[str]:
    """Return the keys of images that machines of this user's labs stand on."""
    return {record.image for record in all_records()}


def prune(current: Collection[str], progress: Progress) -> list[str]:
    """Remove images that no machine stands on and that would not be used again.

    Args:
        current: Keys of the images that would.
        progress: Gets a line for each image that is removed.

    Returns:
        The keys removed.
    """
    if not images_dir().is_dir():
        return []
    removed = []
    with _build_lock(progress):
        _clear_remains()
        for image in cached_images():
            if image.key in current or image.key in keys_in_use():
                continue
            gone = images_dir() / f"{_BUILDING}{image.key}"
            image.folder.rename(gone)
            remove_tree(gone)
            removed.append(image.key)
            progress(f"removed image {image.key}")
    return removed
