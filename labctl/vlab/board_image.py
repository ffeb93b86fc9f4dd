"""What a virtual board boots: a Debian kernel of its architecture and a RAM disk with busybox.

The packages are fetched by apt for the foreign architecture, with an apt configuration of their
own, and unpacked; nothing is installed and no root is needed. Sources: apt.conf(5),
apt-get(8) (download), dpkg-deb(1); busybox's examples/inittab; U-Boot's doc/develop/distro.rst
(extlinux.conf), which its automatic boot looks for on the first disk.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from labctl.errors import LabctlError
from labctl.fileio import locked
from labctl.paths import cache_dir, make_private
from labctl.report.sanitize import clean_line
from labctl.vlab import hostapt
from labctl.vlab.board_model import VirtualModel
from labctl.vlab.cpio import CpioWriter
from labctl.vlab.initramfs import module_order
from labctl.vlab.programs import KEYRING, tool_environment

Progress = Callable[[str], None]

# Raise it when the build changes in a way that the other inputs of the key do not show.
RECIPE_VERSION = 1
_BUILDING = ".building-"
_DEADLINE_S = 600.0
_DISK_MIB = 96
_SECTOR = 512
_FIRST_SECTOR = 2048  # of the partition, aligned to 1 MiB as partitioning tools do
_MODULES = ("virtio_mmio", "virtio_blk", "virtio_net", "virtio_rng")

_INITTAB = """\
::sysinit:/etc/rcS
{console}::respawn:/bin/busybox getty -L 115200 {console} vt100
::ctrlaltdel:/bin/busybox reboot
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
hostname board
ifconfig lo 127.0.0.1 up
ifconfig eth0 up
udhcpc -i eth0 -n -q -f -t 3 -T 1 -s /etc/udhcpc >/dev/null
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
_EXTLINUX = """\
default linux
timeout 1
label linux
  kernel /vmlinuz
  initrd /initrd
  append console={console},115200
"""


@dataclass(frozen=True)
class BoardImage:
    """What a board boots.

    Attributes:
        folder: Its folder in the cache.
        key: Name of that folder.
    """

    folder: Path
    key: str

    @property
    def disk(self) -> Path:
        """Raw disk with one ext4 partition: kernel, RAM disk, extlinux.conf."""
        return self.folder / "disk.img"

    @property
    def boot(self) -> Path:
        """The same files as a folder, for TFTP."""
        return self.folder / "boot"


def images_dir() -> Path:
    """Return the folder of all board images."""
    return cache_dir() / "board-images"


def ensure_board_image(model: VirtualModel, progress: Progress) -> BoardImage:
    """Return the image for ``model``, building it if the cache does not have it.

    Raises:
        LabctlError: A package cannot be had, or a tool failed.
    """
    key = _key(model)
    target = images_dir() / key
    make_private(images_dir())
    if not (target / "image.json").exists():
        with locked(images_dir() / ".lock", what="board images"):
            if not (target / "image.json").exists():
                _build(model, target, progress)
    return BoardImage(target, key)


def _key(model: VirtualModel) -> str:
    parts = [
        RECIPE_VERSION, model.architecture, model.kernel, model.console,
        hostapt.debian_sources(), _INITTAB, _RC, _UDHCPC, _PROFILE, _EXTLINUX, _MODULES, _DISK_MIB,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _build(model: VirtualModel, target: Path, progress: Progress) -> None:
    for remains in images_dir().glob(f"{_BUILDING}*"):
        shutil.rmtree(remains, ignore_errors=True)
    work = Path(tempfile.mkdtemp(dir=images_dir(), prefix=_BUILDING))
    try:
        progress(f"fetching Debian's kernel and busybox for {model.architecture} (once)")
        root = _unpacked(model, work)
        progress("making the board's disk")
        boot = work / "boot"
        (boot / "extlinux").mkdir(parents=True)
        kernel = next(iter(sorted((root / "boot").glob("vmlinuz-*"))), None)
        if kernel is None:
            raise LabctlError("the package holds no kernel", thing=model.kernel)
        shutil.copyfile(kernel, boot / "vmlinuz")
        release = kernel.name.removeprefix("vmlinuz-")
        # A package that was not installed has no list of what its modules need.
        _run(["depmod", "-b", str(root), release], work, tool_environment())
        (boot / "initrd").write_bytes(_ram_disk(root, release, model))
        (boot / "extlinux/extlinux.conf").write_text(_EXTLINUX.format(console=model.console))
        _make_disk(work / "disk.img", boot)
        facts = {**asdict(model), "release": release}
        (work / "image.json").write_text(json.dumps(facts, indent=2))
        for scratch in ("apt", "root"):
            shutil.rmtree(work / scratch, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _unpacked(model: VirtualModel, work: Path) -> Path:
    """Fetch the packages and unpack them; return the folder."""
    apt, root = work / "apt", work / "root"
    for folder in ("state/lists/partial", "cache/archives/partial", "etc", "debs"):
        (apt / folder).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "etc/sources.list").write_text("\n".join(hostapt.debian_sources()) + "\n")
    config = apt / "apt.conf"
    config.write_text(
        f'Dir "{apt}";\nDir::State "{apt}/state";\nDir::State::status "{apt}/status";\n'
        f'Dir::Cache "{apt}/cache";\nDir::Etc "{apt}/etc";\n'
        f'Dir::Etc::trusted "{KEYRING}";\nDir::Etc::trustedparts "/dev/null";\n'
        f'APT::Architecture "{model.architecture}";\n'
        f'APT::Architectures {{ "{model.architecture}"; }};\n'
        'APT::Install-Recommends "false";\nAcquire::Languages "none";\n'
        # The downloads are checked against signed lists whoever writes them to disk.
        'APT::Sandbox::User "";\n' + hostapt.proxy_config(hostapt.proxies(), for_qemu=False)
    )
    environment = {**tool_environment(), "APT_CONFIG": str(config)}
    _run(["apt-get", "-q", "update"], apt, environment)
    # The metapackage names the package of the present release.
    depends = _run(["apt-cache", "depends", "--important", model.kernel], apt, environment)
    names = [word for word in depends.split() if word.startswith("linux-image-")]
    package = next((name for name in names if name != model.kernel), model.kernel)
    _run(["apt-get", "-q", "download", package, "busybox-static"], apt / "debs", environment)
    for archive in sorted((apt / "debs").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(archive), str(root)], apt, environment)
    return root


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=_DEADLINE_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise LabctlError("did not end in time", thing=command[0]) from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        raise LabctlError(
            f"{command[0]} failed: {clean_line(lines[-1])}", thing="board image",
            action="check the network and the host's apt sources, then run it again",
        )  # fmt: skip
    return done.stdout


def _ram_disk(root: Path, release: str, model: VirtualModel) -> bytes:
    modules = root / "lib/modules" / release
    cpio = CpioWriter()
    for folder in ("dev", "proc", "sys", "tmp", "run", "boot", "root", "var", "mnt",
                   "sbin", "usr/bin", "usr/sbin"):  # fmt: skip
        cpio.add_folder(folder)
    cpio.add_file("bin/busybox", (root / "bin/busybox").read_bytes(), 0o755)
    cpio.add_link("bin/sh", "busybox")
    cpio.add_link("init", "bin/busybox")
    order = module_order(modules, _MODULES)
    for path in order:
        cpio.add_file(f"lib/modules/{path.rpartition('/')[2]}", (modules / path).read_bytes())
    cpio.add_file("lib/modules/order", "".join(
        path.rpartition("/")[2] + "\n" for path in order).encode())  # fmt: skip
    cpio.add_file("etc/passwd", b"root::0:0:root:/root:/bin/sh\n")
    cpio.add_file("etc/group", b"root:x:0:\n")
    cpio.add_file("etc/inittab", _INITTAB.format(console=model.console).encode())
    cpio.add_file("etc/issue", b"\\s \\r \\n \\l\n\n")
    cpio.add_file("etc/profile", _PROFILE.encode())
    cpio.add_file("etc/udhcpc", _UDHCPC.encode(), 0o755)
    cpio.add_file("etc/rcS", _RC.encode(), 0o755)
    return cpio.finish()


def _make_disk(disk: Path, boot: Path) -> None:
    """Write a disk with an MBR and one ext4 partition that holds ``boot``.

    U-Boot 2023.01 reads neither checksummed metadata nor 64-bit block numbers (fs/ext4).
    """
    sectors = _DISK_MIB * (1 << 20) // _SECTOR
    entry = struct.pack(
        "<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff",
        _FIRST_SECTOR, sectors - _FIRST_SECTOR,
    )  # fmt: skip
    with disk.open("wb") as stream:
        stream.truncate(sectors * _SECTOR)
        stream.seek(446)
        stream.write(entry)
        stream.seek(510)
        stream.write(b"\x55\xaa")
    offset = _FIRST_SECTOR * _SECTOR
    features = "^metadata_csum,^64bit,^has_journal"
    _run(
        ["mkfs.ext4", "-q", "-F", "-L", "boot", "-O", features, "-E",
         f"offset={offset},root_owner=0:0", "-d", str(boot), str(disk),
         f"{(sectors * _SECTOR - offset) >> 10}k"],
        disk.parent, tool_environment(),
    )  # fmt: skip
