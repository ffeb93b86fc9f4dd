"""Light Debian boxes for scale work: namespaces on an overlay of the image, each with a real sshd.

A fleet box has its own mount, PID, UTS and IPC namespaces, host name, host key and address in
127/8; it shares the kernel and the network of the host, and has no systemd. All its mounts live in
its mount namespace and its files on a tmpfs there, so they go when its processes do, whatever
ends them.

Sources: unshare(1), pivot_root(2), the kernel's overlayfs.rst and devpts.rst, pid_namespaces(7)
(the end of PID 1 ends the namespace), RFC 1122 section 3.2.1.3 (127/8 is the loopback).
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from labctl import procs
from labctl.errors import LabctlError, UsageError
from labctl.fileio import locked
from labctl.inventory.endpoints import lab_dir
from labctl.paths import make_private
from labctl.vlab import hostapt, identity
from labctl.vlab.initramfs import BoxIdentity
from labctl.vlab.programs import tool_environment
from labctl.vlab.state import Machine, MachineRecord, machines
from labctl.vlab.store import Image

# Not 22: a sshd of the host on all addresses holds port 22 of every loopback address too.
PORT = 2222
LARGEST = 250
_SUBNETS_TRIED = 64

# Runs as PID 1 of the new namespaces, still on the host's root. $1: a word by which the process
# is found again; $2: folder of the machine; $3: image tree; $4: host name; $5, $6: address, port.
_SETUP = r"""
set -e
folder="$2"; lower="$3"; name="$4"
mkdir -p "$folder/mnt"
mount -t tmpfs -o mode=0755 lab "$folder/mnt"
cd "$folder/mnt"
mkdir lower upper work root
mount --bind "$lower" lower
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay root
cp -a "$folder/files/." root/
cd root
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=0755,nosuid dev dev
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    IFS=: read -r file major minor <<END
$node
END
    mknod -m 0666 "dev/$file" c "$major" "$minor"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev shm dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=0755,nosuid,nodev run run
mkdir -m 0755 run/sshd run/lock
hostname "$name"
mkdir .host
pivot_root . .host
umount -l .host
rmdir .host
exec chroot . /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /bin/sh -c "$7" lab-init "$1" "$5" "$6"
"""

# PID 1 afterwards: it waits for sshd and, while it waits, reaps orphans. When sshd ends, it does.
_INIT = r"""
trap 'kill "$pid"' TERM
/usr/sbin/sshd -D -e -o "ListenAddress=$2:$3" -o Port="$3" -o PidFile=none &
pid=$!
wait "$pid"
"""


def require_root() -> None:
    """Check that the caller may make namespaces and mounts.

    Raises:
        UsageError: The caller is not root.
    """
    if os.geteuid() != 0:
        raise UsageError(
            "only root may make the mounts and namespaces of light boxes",
            thing="lab fleet",
            action="run it with sudo, or use full boxes: labctl lab up",
        )


def names(count: int) -> list[str]:
    """Return the names of the first ``count`` fleet boxes.

    Raises:
        UsageError: More than one subnet holds.
    """
    if not 1 <= count <= LARGEST:
        raise UsageError(f"a fleet has 1 to {LARGEST} boxes", thing=str(count))
    return [f"fleet{number:02}" for number in range(1, count + 1)]


def subnet(lab: str, attempt: int) -> str:
    """Return the first three octets of a lab's addresses.

    Args:
        lab: Identity of the lab; it differs between inventories and between users.
        attempt: Number of the candidate, where earlier ones are taken.
    """
    digest = hashlib.sha256(f"{lab}:{attempt}".encode()).digest()
    return f"127.{64 + digest[0] % 128}.{digest[1]}"


def choose_subnet(inventory: Path, wanted: Sequence[str]) -> str:
    """Return the subnet of this lab's fleet: that of its running boxes, or a free one.

    Raises:
        LabctlError: None is free.
    """
    for machine in machines(inventory):
        record = machine.read()
        if record and record.kind == "fleet" and machine.find_process():
            return record.address.rpartition(".")[0]
    for attempt in range(_SUBNETS_TRIED):
        candidate = subnet(lab_dir(inventory).name, attempt)
        if all(_is_free(address_of(candidate, name)) for name in wanted):
            return candidate
    raise LabctlError(f"port {PORT} is taken in every subnet tried", thing="lab fleet")


def address_of(prefix: str, name: str) -> str:
    """Return the address of the fleet box ``name``."""
    return f"{prefix}.{int(name.removeprefix('fleet'))}"


def _is_free(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, PORT))
        except OSError:
            return False
    return True


def identity_file(inventory: Path) -> Path:
    """Return the private key that all fleet boxes of the lab accept, made when first needed."""
    folder = make_private(lab_dir(inventory))
    path = folder / "fleet_ed25519"
    with locked(folder / "fleet_ed25519.lock", what="fleet key"):
        identity.make_identity(path, "labctl fleet")
    return path


def start(
    machine: Machine,
    image: Image,
    prefix: str,
    key: Path,
    extra: Mapping[str, tuple[bytes, int]] | None = None,
) -> MachineRecord:
    """Start a fleet box; the caller holds the machine's lock.

    Args:
        machine: Which one; it must not be running.
        image: Image with an unpacked tree.
        prefix: Subnet, see `choose_subnet`.
        key: Private key that it is to accept.
        extra: More files that it has: relative path -> (content, mode).

    Raises:
        LabctlError: A program that makes keys failed.
    """
    machine.remove()
    host_keys = identity.make_host_keys(machine.name, ("ed25519",))
    address = address_of(prefix, machine.name)
    record = MachineRecord(
        name=machine.name, kind="fleet", image=image.key, address=address, port=PORT,
        accel="none", host_keys=identity.public_keys(host_keys), identity_file=str(key),
    )  # fmt: skip
    machine.write(record)
    newcomer = BoxIdentity(
        name=machine.name,
        machine_id=identity.make_machine_id(),
        password_hash="*",  # noqa: S106 - no password at all
        host_keys=host_keys,
        apt_config=hostapt.proxy_config(hostapt.proxies(), for_qemu=False),
        extra=extra or {},
    )
    files = newcomer.files()
    files["root/.ssh/authorized_keys"] = (identity.make_identity(key, "").encode() + b"\n", 0o600)
    resolver = Path("/etc/resolv.conf")
    if resolver.exists():
        files["etc/resolv.conf"] = (resolver.read_bytes(), 0o644)
    _write_files(machine.folder / "files", files)
    command = [
        "unshare", "--fork", "--kill-child", "--mount", "--pid", "--uts", "--ipc",
        "sh", "-c", _SETUP, "lab-setup", str(machine.pidfile), str(machine.folder),
        str(image.tree), machine.name, address, str(PORT), _INIT,
    ]  # fmt: skip
    with machine.console_log.open("wb") as log:
        # It outlives us on purpose; `Machine.find_process` knows it by the path of the pid file.
        started = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
            env=tool_environment(), start_new_session=True,
        )  # fmt: skip
    # By its id, not by that word: for a moment after exec the kernel shows no arguments yet.
    return machine.update(record, process=procs.identify(started.pid))


def _write_files(folder: Path, files: dict[str, tuple[bytes, int]]) -> None:
    for name, (data, mode) in files.items():
        path = folder / name
        # cp -a gives these modes to the box: root's home is private, the rest is not.
        private = name.startswith("root/")
        for parent in reversed(path.relative_to(folder).parents[:-1]):
            (folder / parent).mkdir(exist_ok=True, parents=True)
            (folder / parent).chmod(0o700 if private else 0o755)
        path.touch(mode=0o600)
        path.write_bytes(data)
        path.chmod(mode)
    folder.chmod(0o755)
