"""Build one box image with mmdebstrap and mkfs.ext4, as root or in a user namespace.

Sources: mmdebstrap(1), mke2fs(8) (``-d``), setpriv(1) (``--pdeathsig``), unshare(1).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from labctl.errors import LabctlError
from labctl.report.sanitize import clean_line
from labctl.vlab.initramfs import base_archive
from labctl.vlab.programs import KEYRING, find_program, tool_environment
from labctl.vlab.recipe import CUSTOMIZE, DISK_SIZE, Recipe

Progress = Callable[[str], None]
_DEADLINE_S = 1500.0

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
        _run(_mmdebstrap(recipe, "root", str(tree)), progress, work)
        progress("making the disk image")
        _run([*_MKFS, "-d", str(tree), str(work / "root.img"), DISK_SIZE], progress, work)
        kernel = _boot_files(tree, work)
        if not recipe.tree:
            remove_tree(tree)
        return kernel
    return _build_rootless(recipe, work, progress)


def _build_rootless(recipe: Recipe, work: Path, progress: Progress) -> str:
    archive = work / "root.tar"
    _run(_mmdebstrap(recipe, "unshare", str(archive)), progress, work)
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
        _run(helper, progress, work, stdin=tar, sparse_to=disk)
    partial = work / "partial"
    partial.mkdir()
    wanted = ["./boot", "./usr/lib/modules"]
    _run(["tar", "-C", str(partial), "-xf", str(archive), *wanted], progress, work)
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
        raise LabctlError("no kernel was installed", thing="box image")
    shutil.copyfile(kernels[-1], work / "vmlinuz")
    release = kernels[-1].name.removeprefix("vmlinuz-")
    busybox = Path(find_program("busybox") or "/bin/busybox").read_bytes()
    if b"/ld-linux-x86-64" in busybox:
        raise LabctlError(
            "busybox is not static", thing="box image", action="apt-get install busybox-static"
        )
    archive = base_archive(tree / "usr/lib/modules" / release, busybox)
    (work / "initrd").write_bytes(archive)
    return release


def _guard(command: Sequence[str]) -> list[str]:
    """Wrap ``command`` so that nothing of it outlives labctl, whatever way labctl ends.

    As root it also gets PID and mount namespaces of its own: its processes and mounts end with it.
    """
    guard = ["setpriv", "--pdeathsig", "KILL"]
    if os.geteuid() == 0:
        guard += ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return [*guard, *command]


def _run(
    command: Sequence[str],
    progress: Progress,
    work: Path,
    *,
    stdin: IO[bytes] | None = None,
    sparse_to: IO[bytes] | None = None,
) -> None:
    """Run a build step, pass its "I: " lines on, keep everything in ``work``/build.log."""
    last: deque[str] = deque(maxlen=6)
    process = subprocess.Popen(
        _guard(command),
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if sparse_to else subprocess.STDOUT,
        env={**tool_environment(), "TMPDIR": "/tmp" if os.geteuid() else str(work)},  # noqa: S108 - shared with the user namespace
    )
    timer = threading.Timer(_DEADLINE_S, process.kill)
    timer.start()
    copier = None
    try:
        if sparse_to and process.stdout:
            copier = threading.Thread(target=_copy_sparse, args=(process.stdout, sparse_to))
            copier.start()
        messages = process.stderr if sparse_to else process.stdout
        assert messages is not None
        with (work / "build.log").open("ab") as log:
            for raw in messages:
                log.write(raw)
                line = clean_line(raw)
                if line.startswith("I: ") and line.endswith("..."):
                    progress(f"  {line.removeprefix('I: ')}")
                elif line:
                    last.append(line)
        status = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        timer.cancel()
        if copier:
            copier.join()
    if status != 0:
        errors = [line for line in last if not line.startswith(("W: ", "I: "))] or [str(status)]
        raise LabctlError(
            f"{command[0]} failed: {' / '.join(errors[-3:])}",
            thing="box image",
            action="check the network and the host's apt sources, then run it again",
        )


def _copy_sparse(source: IO[bytes], target: IO[bytes], *, block: int = 1 << 16) -> None:
    """Copy bytes, leaving holes where a block is zero."""
    size = 0
    zeros = bytes(block)
    while data := source.read(block):
        if data != zeros[: len(data)]:
            target.seek(size)
            target.write(data)
        size += len(data)
    target.truncate(size)


def remove_tree(folder: Path) -> None:
    """Remove ``folder``, also where it holds files of the user namespace's ids."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and os.geteuid() != 0:
        helper = ["mmdebstrap", "--unshare-helper", "rm", "-rf", str(folder)]
        subprocess.run(helper, check=False, timeout=120, capture_output=True)
