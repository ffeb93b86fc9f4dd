"""The root file system of a virtual board's Linux: busybox in the initial RAM disk, and no more.

It is what a vendor's minimal image is: init, a getty on the serial line, root without a password,
a network that DHCP configures (and that gives the board its host name), /tmp and /run in memory.

Sources: busybox's examples/inittab and its udhcpc script interface, getty(8), issue(5).
"""

from __future__ import annotations

from pathlib import Path

from labctl.vlab.board_model import LinuxParts
from labctl.vlab.cpio import CpioWriter
from labctl.vlab.initramfs import module_order

_INITTAB = """\
::sysinit:/etc/rcS
{console}::respawn:/sbin/getty -L 115200 {console} vt100
::ctrlaltdel:/sbin/reboot
::shutdown:/bin/umount -a -r
"""
_RC = """\
#!/bin/sh
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs -o mode=755 run /run
for module in $(cat /lib/modules/order); do insmod "/lib/modules/$module"; done
hostname -F /etc/hostname
ifconfig lo 127.0.0.1 up
ifconfig eth0 up
udhcpc -i eth0 -n -q -f -t 3 -T 1 -s /etc/udhcpc >/dev/null 2>&1
mount -o ro /dev/vda1 /boot
"""
# QEMU's user network tells the board its name (-netdev user,hostname=).
_UDHCPC = """\
#!/bin/sh
[ "$1" = bound ] || exit 0
ifconfig "$interface" "$ip" netmask "$subnet"
route add default gw "$router"
echo "nameserver $dns" > /etc/resolv.conf
[ -z "$hostname" ] || hostname "$hostname"
"""
_PROFILE = "export PS1='root@\\h:\\w\\$ '\n"
_ISSUE = "\\s \\r \\n \\l\n\n"
_FOLDERS = ("bin", "sbin", "usr/bin", "usr/sbin", "dev", "proc", "sys", "tmp", "run", "boot",
            "root", "var", "mnt")  # fmt: skip


def files(model: str, linux: LinuxParts) -> dict[str, tuple[bytes, int]]:
    """Return our own files of the root file system: relative path -> (content, mode)."""
    return {
        "etc/passwd": (b"root::0:0:root:/root:/bin/sh\n", 0o644),
        "etc/group": (b"root:x:0:\n", 0o644),
        # Until DHCP tells the name of this very board.
        "etc/hostname": (f"{model}\n".encode(), 0o644),
        "etc/inittab": (_INITTAB.format(console=linux.console).encode(), 0o644),
        "etc/issue": (_ISSUE.encode(), 0o644),
        "etc/profile": (_PROFILE.encode(), 0o644),
        "etc/udhcpc": (_UDHCPC.encode(), 0o755),
        "etc/rcS": (_RC.encode(), 0o755),
    }


def archive(root: Path, release: str, model: str, linux: LinuxParts) -> bytes:
    """Return the RAM disk.

    Args:
        root: Folder with the unpacked packages, ``modules.dep`` made.
        release: Kernel release.
        model: Name of the board's model.
        linux: What it is made of.

    Raises:
        LabctlError: The kernel lacks a module.
    """
    modules = root / "lib/modules" / release
    cpio = CpioWriter()
    for folder in _FOLDERS:
        cpio.add_folder(folder)
    cpio.add_file("bin/busybox", (root / "bin/busybox").read_bytes(), 0o755)
    cpio.add_link("bin/sh", "busybox")
    cpio.add_link("init", "bin/busybox")
    order = module_order(modules, linux.modules)
    for path in order:
        cpio.add_file(f"lib/modules/{path.rpartition('/')[2]}", (modules / path).read_bytes())
    names = "".join(path.rpartition("/")[2] + "\n" for path in order)
    cpio.add_file("lib/modules/order", names.encode())
    for name, (data, mode) in files(model, linux).items():
        cpio.add_file(name, data, mode)
    return cpio.finish()
