"""What a box is made of: packages, a few settings, and the key that names the resulting image.

The box is Debian 12 as it comes from a minimal installation: systemd, sshd and a network, root
with a password and nothing else. Whatever `labctl setup` is there to do is left undone here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labctl.vlab.hostapt import SUITE, debian_sources, local_certificates, proxies
from labctl.vlab.initramfs import INIT_SCRIPT, MODULES

# Raise it when the build changes in a way that the other inputs of the key do not show.
RECIPE_VERSION = 1

PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "linux-image-cloud-amd64",
    "netbase",
    "openssh-server",
    "systemd",
    "systemd-sysv",
    "udev",
)

# Virtual size of the disk; the file is sparse and holds only what is used.
DISK_SIZE = "8G"

# Runs at the end of the installation with the new root folder as $1, on the building machine.
# - QEMU's user network gives every guest the same addresses (QEMU manual, -netdev user), so they
#   are set without DHCP, which costs seconds under emulation.
# - A provider's new machine lets root in with a password; Debian's default does not.
# - Host keys, machine id and host name come with each box and must not be in the image.
# - The build fetches no translations; a new Debian has the English ones.
CUSTOMIZE = r"""
set -e
root="$1"
APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get -qq -o Acquire::Languages=en update
cat > "$root/etc/systemd/network/80-lab.network" <<'END'
[Match]
Type=ether

[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
DNS=10.0.2.3
LinkLocalAddressing=no
IPv6AcceptRA=no
END
chroot "$root" systemctl enable --quiet systemd-networkd.service
rm -f "$root/etc/resolv.conf"
echo 'nameserver 10.0.2.3' > "$root/etc/resolv.conf"
printf '/dev/vda / ext4 noatime,errors=remount-ro 0 0\n' > "$root/etc/fstab"
sed -i 's/^#*PermitRootLogin .*/PermitRootLogin yes/' "$root/etc/ssh/sshd_config"
rm -f "$root"/etc/ssh/ssh_host_*
chroot "$root" update-ca-certificates >/dev/null 2>&1
rm -rf "$root/var/log/journal"
: > "$root/etc/hostname"
# mmdebstrap's own options for the build are not those of a new Debian. The package lists and
# apt's cache of them stay, as any installer leaves them.
rm -f "$root/etc/apt/apt.conf.d/99mmdebstrap"
chroot "$root" apt-get clean
chroot "$root" apt-cache -o Acquire::Languages=en gencaches >/dev/null
"""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what an image holds.

    Attributes:
        sources: Debian's sources in the one-line style.
        proxies: The host's apt proxies, used for the build only; not part of the key.
        certificates: Certificates of the host's administrator.
        tree: Keep the unpacked root folder too (for the fleet; needs root).
    """

    sources: tuple[str, ...]
    certificates: tuple[Path, ...] = ()
    proxies: tuple[tuple[str, str], ...] = ()
    tree: bool = False
    suite: str = SUITE
    packages: Sequence[str] = field(default=PACKAGES)

    @classmethod
    def of_this_host(cls, *, tree: bool) -> Recipe:
        """Return the recipe with this host's sources, proxies and certificates."""
        return cls(
            sources=tuple(debian_sources()),
            certificates=tuple(local_certificates()),
            proxies=tuple(proxies()),
            tree=tree,
        )

    def key(self) -> str:
        """Return the 16 hexadecimal digits that name the image: equal for equal content."""
        parts = {
            "recipe": RECIPE_VERSION,
            "suite": self.suite,
            "packages": sorted(self.packages),
            "sources": list(self.sources),
            "certificates": sorted(
                hashlib.sha256(path.read_bytes()).hexdigest() for path in self.certificates
            ),
            "customize": CUSTOMIZE,
            "init": INIT_SCRIPT,
            "modules": MODULES,
            "disk": DISK_SIZE,
            "tree": self.tree,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
