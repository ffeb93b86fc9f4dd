"""Build one box image with mmdebstrap and mkfs.ext4, as root or in a user namespace.

Sources: mmdebstrap(1), mke2fs(8) (``-d``).
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from labctl.errors import LabctlError
from labctl.vlab.initramfs import base_archive
from labctl.vlab.programs import KEYRING, find_program
from labctl.vlab.recipe import CUSTOMIZE, DISK_SIZE, Recipe
from labctl.vlab.steps import Progress, remove_tree, run

_THING = "box image"

# No lazy initialisation: the guest would do it in the background during the first boot.
_MKFS = ("mkfs.ext4", "-q", "-F", "-L", "root", "-m", "1", "-E",
         "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0")  # fmt: skip


def build(recipe: Recipe, work: Path, progress: Progress) -> str:
    """Fill ``work`` with root.img, vmlinuz, initrd and (as root) root/.

    Args:
        recipe: What to build.
        work: Empty folder; the caller renames it into place afterwards.
        progress: Gets a line for each step.

    Returns:
        The kernel release.

    Raises:
        LabctlError: A step failed; the message holds its last line.
    """
    work.chmod(0o755)  # the image and tree are public Debian; sshd wants / not to be 0700
    if os.geteuid() == 0:
        tree = work / "root"
        run(_mmdebstrap(recipe, "root", str(tree)), progress, work, thing=_THING)
        progress("making the disk image")
        run(
            [*_MKFS, "-d", str(tree), str(work / "root.img"), DISK_SIZE],
            progress,
            work,
            thing=_THING,
        )
        kernel = _boot_files(tree, work)
        if not recipe.tree:
            remove_tree(tree)
        return kernel
    return _build_rootless(recipe, work, progress)


def _build_rootless(recipe: Recipe, work: Path, progress: Progress) -> str:
    archive = work / "root.tar"
    run(_mmdebstrap(recipe, "unshare", str(archive)), progress, work, thing=_THING)
    progress("making the disk image")
    # The files belong to subordinate ids, so they are unpacked in the user namespace, in a
    # folder that it may write to. The finished image comes back through a pipe. Device nodes
    # cannot be made there, and need not: the kernel fills /dev (devtmpfs).
    script = (
        'set -e; dir=$(mktemp -d); trap \'rm -rf "$dir"\' EXIT; mkdir "$dir/root"; '
        'tar -C "$dir/root" -x --numeric-owner --exclude="./dev/*"; '
        f'{shlex.join(_MKFS)} -d "$dir/root" "$dir/img" {DISK_SIZE} >&2; cat "$dir/img"'
    )
    with archive.open("rb") as tar, (work / "root.img").open("wb") as disk:
        helper = ["mmdebstrap", "--unshare-helper", "sh", "-c", script]
        run(helper, progress, work, thing=_THING, stdin=tar, sparse_to=disk)
    partial = work / "partial"
    partial.mkdir()
    wanted = ["./boot", "./usr/lib/modules"]
    run(["tar", "-C", str(partial), "-xf", str(archive), *wanted], progress, work, thing=_THING)
    kernel = _boot_files(partial, work)
    remove_tree(partial)
    archive.unlink()
    return kernel


def _mmdebstrap(recipe: Recipe, mode: str, target: str) -> list[str]:
    command = [
        "mmdebstrap",
        f"--mode={mode}",
        "--variant=minbase",
        "--architectures=amd64",
        f"--include={','.join(recipe.packages)}",
        f"--keyring={KEYRING}",
        # A new Debian has its package lists; without them the first update fetches them all.
        "--skip=cleanup/apt/lists,cleanup/apt/cache",
        *(f'--aptopt={option} "{url}"' for option, url in recipe.proxies),
    ]
    if recipe.certificates:
        folder = "/usr/local/share/ca-certificates"
        files = shlex.join(str(path) for path in recipe.certificates)
        command.append(f"--customize-hook=copy-in {files} {folder}")
    return [*command, f"--customize-hook={CUSTOMIZE}", recipe.suite, target, *recipe.sources]


def _boot_files(tree: Path, work: Path) -> str:
    """Copy the kernel out of ``tree`` and make the RAM disk; return the kernel release."""
    kernels = sorted((tree / "boot").glob("vmlinuz-*"))
    if not kernels:
        raise LabctlError("no kernel was installed", thing=_THING)
    shutil.copyfile(kernels[-1], work / "vmlinuz")
    release = kernels[-1].name.removeprefix("vmlinuz-")
    busybox = Path(find_program("busybox") or "/bin/busybox").read_bytes()
    if b"/ld-linux-x86-64" in busybox:
        raise LabctlError(
            "busybox is not static", thing=_THING, action="apt-get install busybox-static"
        )
    archive = base_archive(tree / "usr/lib/modules" / release, busybox)
    (work / "initrd").write_bytes(archive)
    return release
