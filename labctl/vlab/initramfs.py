"""The tiny initial RAM disk of a box: find the disk, give a new box its identity, start systemd.

One image serves all boxes. What is particular to one (host name, password hash, host keys) comes
in a second archive behind the first, and is copied onto the disk at the first boot only, so that
a reboot leaves alone what has been changed since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labctl.errors import LabctlError
from labctl.vlab.cpio import CpioWriter

# virtio_rng is here so that sshd never waits for random numbers; virtio_net saves udev a round.
MODULES = ("virtio_pci", "virtio_blk", "virtio_rng", "virtio_net")

APPLETS = ("cat", "chmod", "cp", "echo", "insmod", "mount", "rm", "sed", "sh", "sleep",
           "switch_root", "touch", "umount")  # fmt: skip

MARKER = "var/lib/lab-box"

# On the kernel command line: say that the guest runs, and stop. See accel.py.
PROBE_WORD = "lab.probe"
PROBE_MARK = "lab: the guest runs"

# The loop that waits for the disk is bounded (10 s); a failure leaves a shell on the console.
INIT_SCRIPT = f"""#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
case " $(cat /proc/cmdline) " in
    *" {PROBE_WORD} "*) echo "{PROBE_MARK}"; exec sleep 3600 ;;
esac
for module in $(cat /modules/order); do insmod "/modules/$module"; done
tries=0
while [ ! -b /dev/vda ] && [ "$tries" -lt 200 ]; do sleep 0.05; tries=$((tries + 1)); done
if ! mount -t ext4 -o noatime /dev/vda /mnt; then
    echo "initrd: cannot mount the disk; this is a shell"
    exec sh
fi
if [ -d /box/files ] && [ ! -e /mnt/{MARKER} ]; then
    cp -a /box/files/. /mnt/
    hash=$(cat /box/root-hash)
    sed -i "s|^root:[^:]*:|root:$hash:|" /mnt/etc/shadow
    touch /mnt/{MARKER}
fi
rm -rf /box
umount /proc /sys
mount -o move /dev /mnt/dev
exec switch_root /mnt /sbin/init
"""


@dataclass(frozen=True)
class BoxIdentity:
    """What makes one box different from all others.

    Attributes:
        name: Host name.
        machine_id: 32 hexadecimal digits, machine-id(5).
        password_hash: crypt(5) hash of root's password.
        host_keys: Private and public host keys: file name -> content.
        apt_config: Extra apt.conf(5) text (proxies), may be empty.
        extra: More files that it has: relative path -> (content, mode).
    """

    name: str
    machine_id: str
    password_hash: str
    host_keys: Mapping[str, bytes]
    apt_config: str = ""
    extra: Mapping[str, tuple[bytes, int]] = field(default_factory=dict)

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Return the files that it puts on the disk: relative path -> (content, mode)."""
        hosts = f"127.0.0.1\tlocalhost\n127.0.1.1\t{self.name}\n::1\tlocalhost ip6-localhost\n"
        files = {
            "etc/hostname": (f"{self.name}\n".encode(), 0o644),
            "etc/hosts": (hosts.encode(), 0o644),
            "etc/machine-id": (f"{self.machine_id}\n".encode(), 0o444),
        }
        for name, data in self.host_keys.items():
            files[f"etc/ssh/{name}"] = (data, 0o644 if name.endswith(".pub") else 0o600)
        if self.apt_config:
            files["etc/apt/apt.conf.d/01proxy"] = (self.apt_config.encode(), 0o644)
        return {**files, **self.extra}

    def archive(self) -> bytes:
        """Return the archive that follows the common one in the RAM disk of this box."""
        cpio = CpioWriter()
        cpio.add_folder("box/files")
        cpio.add_file("box/root-hash", self.password_hash.encode(), 0o600)
        for path, (data, mode) in self.files().items():
            cpio.add_file(f"box/files/{path}", data, mode)
        return cpio.finish()


def module_order(modules: Path, names: tuple[str, ...] = MODULES) -> list[str]:
    """Return the module files to load for ``names``, each after those it needs.

    Args:
        modules: Folder ``lib/modules/VERSION`` with ``modules.dep`` (modules.dep(5)).
        names: Modules wanted; one that is built into the kernel needs no file.

    Raises:
        LabctlError: A module is neither there nor built in.
    """
    needs: dict[str, list[str]] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, wanted = line.partition(":")
        needs[path] = wanted.split()
    by_name = {_module_name(path): path for path in needs}
    builtin = {
        _module_name(line) for line in (modules / "modules.builtin").read_text().splitlines()
    }
    order: list[str] = []
    for name in names:
        if name in by_name:
            path = by_name[name]
            # modules.dep lists the needs with the deepest last.
            order += [file for file in [*reversed(needs[path]), path] if file not in order]
        elif name not in builtin:
            raise LabctlError(f"the kernel has no module {name}", thing=str(modules))
    return order


def _module_name(path: str) -> str:
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def base_archive(modules: Path, busybox: bytes) -> bytes:
    """Return the archive that all boxes share.

    Args:
        modules: Folder ``lib/modules/VERSION`` of the image.
        busybox: The static busybox program.
    """
    cpio = CpioWriter()
    for folder in ("dev", "mnt", "proc", "sys"):
        cpio.add_folder(folder)
    cpio.add_file("bin/busybox", busybox, 0o755)
    for applet in APPLETS:
        cpio.add_link(f"bin/{applet}", "busybox")
    order = module_order(modules)
    for path in order:
        cpio.add_file(f"modules/{path.rpartition('/')[2]}", (modules / path).read_bytes())
    names = "".join(path.rpartition("/")[2] + "\n" for path in order)
    cpio.add_file("modules/order", names.encode())
    cpio.add_file("init", INIT_SCRIPT.encode(), 0o755)
    return cpio.finish()
