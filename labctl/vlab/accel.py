"""Decide between KVM and emulation by running a guest, not by looking at /dev/kvm.

A /dev/kvm that is there, opens, and even executes a few instructions may still not run Linux
(for example under a hypervisor that offers KVM without hardware virtualisation). So the probe
boots the box's own kernel to the first line of its RAM disk, which takes about a second where
KVM works.
"""

from __future__ import annotations

import json
import os
import platform
import select
import subprocess
import time
from pathlib import Path

from labctl.fileio import write_atomic
from labctl.paths import cache_dir, make_private
from labctl.procs import boot_id
from labctl.vlab.emulation import ACCEL, CPU, MACHINE
from labctl.vlab.initramfs import PROBE_MARK, PROBE_WORD
from labctl.vlab.programs import tool_environment
from labctl.vlab.store import Image

_DEADLINE_S = 10.0
_DEVICE = Path("/dev/kvm")


def runs_linux(accel: str, image: Image, *, deadline_s: float = _DEADLINE_S) -> bool:
    """Tell whether the kernel of ``image`` reaches its RAM disk under the accelerator ``accel``.

    Args:
        accel: ``kvm`` or ``tcg``.
        image: Whose kernel and RAM disk to use.
        deadline_s: How long to wait, seconds.
    """
    command = [
        "qemu-system-x86_64", "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
        "-machine", MACHINE[accel], "-accel", ACCEL[accel], "-cpu", CPU[accel], "-m", "256",
        "-serial", "stdio",
        "-kernel", str(image.vmlinuz), "-initrd", str(image.initrd),
        "-append", f"console=ttyS0 quiet panic=-1 {PROBE_WORD}",
    ]  # fmt: skip
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=tool_environment(),
        )  # fmt: skip
    except OSError:
        return False
    assert process.stdout is not None
    seen = b""
    deadline = time.monotonic() + deadline_s
    try:
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([process.stdout], [], [], left)
            data = os.read(process.stdout.fileno(), 4096) if ready else b""
            if not data:
                return False
            seen += data
            if PROBE_MARK.encode() in seen:
                return True
        return False
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def choose(image: Image) -> str:
    """Return ``kvm`` where ``image`` was seen to run under it, otherwise ``tcg``.

    The answer is kept until the machine reboots, or QEMU, a kernel or the permissions change.
    """
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return "tcg"
    path = make_private(cache_dir()) / "kvm-probe.json"
    key = f"{boot_id()} {platform.release()} {_qemu_version()} {image.kernel} {os.geteuid()}"
    try:
        known = json.loads(path.read_text())
        if known["key"] == key:
            return "kvm" if known["runs"] is True else "tcg"
    except (OSError, ValueError, KeyError, TypeError):
        pass  # never probed, or not our file: probe now
    runs = runs_linux("kvm", image)
    write_atomic(path, json.dumps({"key": key, "runs": runs}))
    return "kvm" if runs else "tcg"


def _qemu_version() -> str:
    done = subprocess.run(
        ["qemu-system-x86_64", "--version"],
        capture_output=True, text=True, check=False, timeout=20, env=tool_environment(),
    )  # fmt: skip
    return done.stdout.partition("\n")[0]
