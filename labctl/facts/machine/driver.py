"""NVIDIA's driver, seen from everywhere but through itself: it has to be judged when it is broken.

The module that is loaded, those on the disk for each kernel, DKMS, headers, the library, packages,
nouveau, Secure Boot, cards on the bus, device files, what apt would replace, and who uses it.
Sources: NVIDIA's driver README (chapters 4, 5 and "Frequently asked questions"), dkms(8),
modinfo(8), mokutil(1), Documentation/ABI/testing/sysfs-bus-pci of Linux.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from labctl.facts.machine.probe import Probe, Section, Sections
from labctl.facts.value import Fact, Known, Unknown, absent

_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Kernel:
    """A kernel that is installed.

    Attributes:
        release: As uname -r would say it.
        module: Version of its nvidia module, absent if it has none.
        headers: Whether modules can be built for it (``/lib/modules/RELEASE/build``).
    """

    release: str
    module: Fact[str]
    headers: bool


@dataclass(frozen=True)
class Holder:
    """A process that has a device file of the driver open."""

    pid: int
    user: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} of {self.user} ({self.pid})"


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver.

    Attributes:
        cards: Addresses of NVIDIA's cards on the bus.
        bound: Names of the kernel drivers that have them, each once.
        loaded: Version of the loaded module.
        nouveau: Whether the free driver nouveau is loaded.
        running: The running kernel, with the module on the disk for it.
        next: The newest installed kernel: what the next boot starts.
        dkms_failed: Lines of ``dkms status`` that tell of a module not installed.
        library: Version of libnvidia-ml, which nvidia-smi and everything else uses.
        packages: Installed packages of the driver.
        secure_boot: Whether the firmware lets only signed modules in.
        key_rejected: The kernel refused the module for its signature.
        device_files: Device files of the driver.
        refused: Of those, what even opening is refused, with the kernel's word for why: a cgroup or
            container says "Operation not permitted", the file's mode "Permission denied".
        upgrades: Packages of the driver that apt would replace now.
        unattended: Whether packages are upgraded with nobody there.
        holders: Who would be interrupted by unloading the driver.
        container: What kind of container this is, or ``none``.
    """

    cards: Fact[Sequence[str]]
    bound: Fact[Sequence[str]]
    loaded: Fact[str]
    nouveau: Fact[bool]
    running: Fact[Kernel]
    next: Fact[Kernel]
    dkms_failed: Fact[Sequence[str]]
    library: Fact[str]
    packages: Fact[Sequence[str]]
    secure_boot: Fact[bool]
    key_rejected: Fact[bool]
    device_files: Fact[Sequence[str]]
    refused: Fact[Sequence[str]]
    upgrades: Fact[Sequence[str]]
    unattended: Fact[bool]
    holders: Fact[Sequence[Holder]]
    container: Fact[str]


def parse(text: str) -> Driver:
    """Return the facts in the output of the snippet."""
    found = Sections(text)
    driver = _parse(found)
    if found["none"].status != 0:
        return driver
    # The rest was not asked.
    nothing: Unknown = absent("neither a card nor anything of its driver is here")
    asked = {"cards", "bound", "loaded", "nouveau", "packages"}
    return replace(driver, **{f.name: nothing for f in fields(driver) if f.name not in asked})


def _parse(found: Sections) -> Driver:
    pci = found["pci"]
    cards = [line.split() for line in pci.lines]
    kernels = _kernels(found["kernels"])
    release = found["uname"].text.strip()
    running: Fact[Kernel] = found["uname"].trouble("uname") or absent("no folder of its modules")
    for kernel in kernels:
        if kernel.release == release:
            running = Known(kernel)
    bootable = [kernel for kernel in kernels if kernel.release in found["boot"].lines]
    return Driver(
        cards=pci.trouble("/sys/bus/pci") or Known(tuple(words[0] for words in cards if words)),
        bound=pci.trouble("/sys/bus/pci")
        or Known(tuple(sorted({words[1] for words in cards if len(words) > 1}))),
        loaded=_version(found["loaded"], "loaded module nvidia"),
        nouveau=_holds(found["nouveau"]),
        running=running,
        next=Known(max(bootable, key=lambda kernel: natural(kernel.release)))
        if bootable
        else absent("no kernel in /boot"),
        dkms_failed=_dkms_failed(found["dkms"]),
        library=_version(found["library"], "libnvidia-ml"),
        packages=found["packages"].trouble("dpkg-query")
        or Known(tuple(line[4:].strip() for line in found["packages"].lines if line[1:2] == "i")),
        secure_boot=_secure_boot(found["secure boot"]),
        key_rejected=found["rejected"].trouble("dmesg") or Known(bool(found["rejected"].lines)),
        device_files=found["devices"].trouble("/dev") or Known(tuple(found["devices"].lines)),
        refused=_refused(found["refused"]),
        upgrades=_upgrades(found["upgrades"]),
        unattended=_unattended(found["unattended"]),
        holders=_holders(found["holders"]),
        container=_container(found["virt"]),
    )


def natural(release: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that orders releases of kernels: numbers in them count as numbers."""
    parts = re.findall(r"\d+|[^\d]+", release)
    return tuple((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts)


def _holds(section: Section) -> Fact[bool]:
    if section.status is None:
        return section.trouble("shell") or absent()
    return Known(section.status == 0)


def _version(section: Section, what: str) -> Fact[str]:
    trouble = section.trouble(what)
    if trouble:
        return trouble
    match = _VERSION.search(section.text)
    return Known(match.group()) if match else absent(f"no {what}")


def _kernels(section: Section) -> list[Kernel]:
    kernels = []
    for line in section.lines:
        words = line.split("|")
        if len(words) == 3:
            release, headers, version = (word.strip() for word in words)
            module: Fact[str] = Known(version) if version else absent(f"none for {release}")
            kernels.append(Kernel(release, module, headers == "yes"))
    return kernels


def _dkms_failed(section: Section) -> Fact[Sequence[str]]:
    # dkms(8): "MODULE/VERSION, KERNEL, ARCH: STATE" or "MODULE/VERSION: added"; "nvidia-current"
    # in Debian.
    lines = [line.strip() for line in section.lines if "nvidia" in line.split(",")[0]]
    bad = tuple(line for line in lines if not re.search(r": installed\b", line))
    return section.trouble("dkms") or Known(bad)


def _secure_boot(section: Section) -> Fact[bool]:
    # `od` of the EFI variable: four bytes of attributes, then 1 or 0.
    if section.status == 127:
        return Known(False)  # no EFI, no Secure Boot
    trouble = section.trouble("EFI variable SecureBoot")
    return trouble or Known(section.text.split()[-1:] == ["1"])


def _refused(section: Section) -> Fact[Sequence[str]]:
    if section.status is None or section.status == 124:
        return section.trouble("dd") or absent()
    # dd(1) of coreutils: "failed to open 'FILE': REASON"; of busybox: "can't open ...".
    matches = (re.search(r"open '([^']+)': (.+)", line) for line in section.lines)
    return Known(tuple(f"{match[1]}: {match[2]}" for match in matches if match))


def _upgrades(section: Section) -> Fact[Sequence[str]]:
    trouble = section.trouble("apt-get")
    # "Inst libnvidia-ml1 [525.147.05-1] (525.147.05-4 Debian:12.5/stable [amd64])"; apt-get(8), -s
    names = [line.split()[1] for line in section.lines if line.startswith("Inst ")]
    return trouble or Known(tuple(name for name in names if "nvidia" in name))


def _unattended(section: Section) -> Fact[bool]:
    if section.status == 127:
        return Known(False)
    trouble = section.trouble("apt-config")
    match = re.search(r"Unattended='?(\d+)", section.text)
    return trouble or Known(bool(match and int(match.group(1)) > 0))


def _holders(section: Section) -> Fact[Sequence[Holder]]:
    holders = []
    for line in section.lines:
        words = line.split(None, 2)
        if len(words) == 3 and words[0].isdecimal():
            holders.append(Holder(int(words[0]), words[1], words[2].strip()))
    return section.trouble("ps") or Known(tuple(holders))


def _container(section: Section) -> Fact[str]:
    # systemd-detect-virt -c prints "none" and fails on a machine that is no container.
    if section.status in (0, 1) and section.lines:
        return Known(section.lines[0].strip())
    trouble: Unknown | None = section.trouble("systemd-detect-virt")
    return trouble or absent("systemd-detect-virt said nothing")


# Class 0x03: display controllers, vendor 0x10de: NVIDIA (PCI ID repository).
PROBE = Probe(
    "driver",
    r"""
printf '[pci]\n'
for dev in /sys/bus/pci/devices/*; do
[ -e "$dev/vendor" ] || continue
read -r vendor <"$dev/vendor"; [ "$vendor" = 0x10de ] || continue
read -r class <"$dev/class"; case $class in 0x03*) ;; *) continue;; esac
bound=$(readlink "$dev/driver"); printf '%s %s\n' "${dev##*/}" "${bound##*/}"; cards=yes
done
printf '[pci=0]\n'
show loaded /sys/module/nvidia/version
printf '[nouveau]\n'; [ -d /sys/module/nouveau ]; printf '[nouveau=%s]\n' $?
printf '[packages]\n'
list=$(within 10 dpkg-query -W -f='${db:Status-Abbrev} ${Package}\n' '*nvidia*'); rc=$?
[ $rc -eq 1 ] && rc=0; printf '%s\n[packages=%s]\n' "$list" $rc
case $list in ii*|*'
ii'*) installed=yes;; esac
# Where there is nothing of the driver's, there is nothing more to ask.
[ -n "$cards$installed" ] || [ -e /sys/module/nvidia ] || command -v nvidia-smi >/dev/null || {
printf '[none]\n[none=0]\n'; exit 0; }
part uname 5 uname -r
printf '[boot]\n'; for file in /boot/vmlinuz-*; do echo "${file#/boot/vmlinuz-}"; done
printf '[boot=0]\n[kernels]\n'
for dir in /lib/modules/*; do
[ -e "$dir/modules.dep" ] || [ -d "$dir/kernel" ] || continue
headers=no; [ -e "$dir/build/Makefile" ] && headers=yes
printf '%s|%s|%s\n' "${dir##*/}" $headers "$(within 5 modinfo -F version -k "${dir##*/}" nvidia)"
done
printf '[kernels=0]\n'
part dkms 10 dkms status
printf '[library]\n'; within 5 ldconfig -p | sed -n 's/.*libnvidia-ml[.]so[.]1 .*=> //p' |
while read -r file; do readlink -f "$file"; break; done; printf '[library=0]\n'
show_sb() { for file in /sys/firmware/efi/efivars/SecureBoot-*; do
[ -e "$file" ] || return 127; od -An -tu1 "$file"; return; done; }
printf '[secure boot]\n'; show_sb; printf '[secure boot=%s]\n' $?
printf '[rejected]\n'; log=$(within 10 dmesg 2>&1); rc=$?
[ $rc -eq 0 ] || log=
printf '%s\n' "$log" |
grep -iE 'nvidia.*(Key was rejected|module verification failed.*required)|Lockdown.*nvidia'
printf '[rejected=%s]\n' $rc
printf '[devices]\n'; for file in /dev/nvidia*; do [ -e "$file" ] && echo "$file"; done
printf '[devices=0]\n[refused]\n'; rc=0
# Only the control device: opening a card would wake it up.
[ -e /dev/nvidiactl ] && within 3 dd if=/dev/nvidiactl of=/dev/null count=0 2>&1
printf '[refused=%s]\n[upgrades]\n' $rc; rc=0
[ -n "$installed" ] && { within 20 apt-get -s -q -o Debug::NoLocking=1 -o Dir::Cache::pkgcache= \
-o Dir::Cache::srcpkgcache= upgrade; rc=$?; }
printf '[upgrades=%s]\n' $rc
printf '[unattended]\n'; rc=127
command -v unattended-upgrade >/dev/null && {
within 5 apt-config shell Unattended APT::Periodic::Unattended-Upgrade; rc=$?; }
printf '[unattended=%s]\n' $rc
printf '[holders]\n'
if [ -e /dev/nvidiactl ]; then
pids=$(find /proc/[0-9]*/fd -maxdepth 1 -lname '/dev/nvidia*' | cut -d/ -f3 | sort -nu | tr '\n' ,)
[ -n "$pids" ] && ps -o pid=,user:32=,comm= -p "${pids%,}"
fi
printf '[holders=0]\n'
part virt 5 systemd-detect-virt -c""".strip(),
    parse,
    order=95,
)
