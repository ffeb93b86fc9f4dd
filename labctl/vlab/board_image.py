"""The image of a virtual board: a disk with a Debian kernel, a RAM disk and a boot menu.

U-Boot's own automatic boot finds the menu on the first disk (U-Boot's doc/develop/distro.rst,
``extlinux.conf``), and ``pxe get`` finds the same over TFTP (doc/usage/cmd/pxe.rst).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from labctl.errors import LabctlError
from labctl.vlab import board_initramfs, hostapt, steps, store
from labctl.vlab.board_model import AnyModel, LinuxParts, VirtualModel, read_virtual, virtual_models
from labctl.vlab.boot_disk import make_disk
from labctl.vlab.foreign_apt import ForeignApt, sources_for
from labctl.vlab.programs import KEYRING, KEYRING_PACKAGE, require
from labctl.vlab.steps import Progress
from labctl.vlab.store import Image, Plan

# Raise it when the build changes in a way that the other inputs of the key do not show.
RECIPE_VERSION = 2
BUILD_PROGRAMS = {
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "depmod": "kmod",
    "mkfs.ext4": "e2fsprogs",
}
_BUSYBOX = "busybox-static"
_EXTLINUX = """\
default linux
timeout 1
label linux
  kernel /vmlinuz
  initrd /initrd
  append {words}
"""


def ensure_board_image(model: AnyModel, progress: Progress, *, force: bool = False) -> Image | None:
    """Return the image for ``model``, building it if the cache does not have it.

    Args:
        model: How the board is run.
        progress: Gets a line for each step.
        force: Build anew even where the cache has it (for fresh packages).

    Returns:
        The image, or None for a model that has no Linux.

    Raises:
        DependencyError: Programs are missing.
        BusyError: ``force``, and running boards stand on the image.
        LabctlError: A package cannot be had, or a tool failed.
    """
    if not isinstance(model, VirtualModel) or model.linux is None:
        return None
    linux = model.linux
    plan = Plan(
        kind="board",
        title=model.name,
        key=_key(model, linux),
        announcement=f"fetching Debian's kernel and busybox for {model.architecture} (once)",
        require=lambda: require(BUILD_PROGRAMS, files=[(KEYRING, KEYRING_PACKAGE)]),
        build=lambda work, say: _build(model, linux, work, say),
    )
    return store.ensure(plan, progress, force=force)


def current_keys(inventory: Path | None) -> set[str]:
    """Return the keys of the images of all models that can be run.

    Raises:
        InventoryError: A model's file has mistakes.
    """
    known = [read_virtual(name, inventory) for name in virtual_models(inventory)]
    return {
        _key(model, model.linux)
        for model in known
        if isinstance(model, VirtualModel) and model.linux
    }


def boot_words(linux: LinuxParts) -> str:
    """Return the kernel's command line."""
    return " ".join([f"console={linux.console},115200", *linux.words])


def _key(model: VirtualModel, linux: LinuxParts) -> str:
    own = board_initramfs.files(model.name, linux)
    parts = [
        RECIPE_VERSION, model.architecture, linux.suite, linux.kernel, _BUSYBOX,
        sources_for(linux.suite, hostapt.debian_sources()), linux.modules, boot_words(linux),
        {name: [data.decode(), mode] for name, (data, mode) in own.items()}, _EXTLINUX,
        model.disk_mib,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _build(model: VirtualModel, linux: LinuxParts, work: Path, progress: Progress) -> str:
    thing = f"board image {model.name}"
    apt = ForeignApt(work, model.architecture, linux.suite, thing=thing, progress=progress)
    apt.fetch(linux.kernel, [_BUSYBOX])
    root = work / "root"
    apt.unpack(root)
    kernel = _newest((root / "boot").glob("vmlinu[xz]-*"))
    if kernel is None:
        raise LabctlError(f"the package {linux.kernel} holds no kernel", thing=thing)
    release = kernel.name.partition("-")[2]
    # A package that was not installed has no list of what its modules need.
    steps.run(["depmod", "-b", str(root), release], progress, work, thing=thing)
    progress("making the board's disk")
    boot = work / "boot"
    (boot / "extlinux").mkdir(parents=True)
    shutil.copyfile(kernel, boot / "vmlinuz")
    (boot / "initrd").write_bytes(board_initramfs.archive(root, release, model.name, linux))
    menu = _EXTLINUX.format(words=boot_words(linux))
    (boot / "extlinux/extlinux.conf").write_text(menu)
    make_disk(work / "disk.img", model.disk_mib, boot, work, progress, thing=thing)
    for scratch in (apt.folder, root):
        steps.remove_tree(scratch)
    return release


def _newest(kernels: Iterable[Path]) -> Path | None:
    return max(kernels, default=None)
