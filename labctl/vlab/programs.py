"""The Debian programs that the virtual lab runs, and the packages that hold them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping

from labctl.errors import DependencyError

# program -> Debian 12 package
BOX_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "ssh-keygen": "openssh-client",
    "openssl": "openssl",
}
BUILD_PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "mkfs.ext4": "e2fsprogs",
    "busybox": "busybox-static",
}
# What the virtual boards that labctl brings along need; a model says so itself (virtual.yaml).
BOARD_PACKAGES = (
    "arduino-core-avr", "avrdude", "gcc", "kmod", "libc6-dev", "libsimavr-dev", "opensbi",
    "qemu-system-arm", "qemu-system-misc", "u-boot-qemu",
)  # fmt: skip
FLEET_PROGRAMS = {
    "unshare": "util-linux",
    "ssh-keygen": "openssh-client",
}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
KEYRING_PACKAGE = "debian-archive-keyring"
# A normal user builds in a user namespace, which needs the set-uid newuidmap.
ROOTLESS_PROGRAMS = {"newuidmap": "uidmap"}

# A normal user's PATH lacks these on Debian, and mkfs.ext4 lives there.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def tool_environment() -> dict[str, str]:
    """Return the environment for tools: the caller's, untranslated, with the sbin folders."""
    path = os.environ.get("PATH", "")
    return {**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{path}:{SYSTEM_PATH}".lstrip(":")}


def find_program(name: str) -> str | None:
    """Return the path of the program ``name``, also from the sbin folders, or None."""
    return shutil.which(name, path=tool_environment()["PATH"])


def packages() -> list[str]:
    """Return the Debian packages that the whole virtual lab needs, sorted."""
    names = {**BOX_PROGRAMS, **BUILD_PROGRAMS, **FLEET_PROGRAMS, **ROOTLESS_PROGRAMS}.values()
    return sorted({*names, *BOARD_PACKAGES, KEYRING_PACKAGE})


def require(*tables: Mapping[str, str], files: Iterable[tuple[str, str]] = ()) -> None:
    """Check that programs (and ``(file, package)`` pairs) are there, all in one go.

    Raises:
        DependencyError: Some are missing; the action is one ``apt-get install`` line for all.
    """
    wanted = {name: package for table in tables for name, package in table.items()}
    missing = {name: package for name, package in wanted.items() if find_program(name) is None}
    missing |= {path: package for path, package in files if not os.path.exists(path)}  # noqa: PTH110 - a str is at hand
    if missing:
        sudo = "" if os.geteuid() == 0 else "sudo "
        raise DependencyError(
            f"not installed: {', '.join(sorted(missing))}",
            thing="virtual lab",
            action=f"install with: {sudo}apt-get install {' '.join(sorted(set(missing.values())))}",
        )
