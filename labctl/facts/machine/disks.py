"""File systems: space, inodes, read-only ones, and those that do not answer.

``stat -f`` hangs on a file system whose server is gone, so every one that needs a server or another
process is asked by a process of its own, which is left behind when the time is up. Disks of this
machine are asked all at once. Sources: proc_pid_mounts(5), statfs(2), stat(1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from labctl.facts.machine.probe import Probe, Sections
from labctl.facts.value import Fact, Known, Reason, Unknown, absent

# File systems that hold no files of people: made by the kernel, or a view of another one.
_NO_DISK = re.compile(
    r"autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|efivarfs|fusectl|"
    r"hugetlbfs|mqueue|nsfs|proc|pstore|ramfs|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|"
    r"tracefs|iso9660|erofs|fuse[.](?:lxcfs|gvfsd-fuse|portal|snapfuse)"
)
# Mount options are read-only by intent where fstab or the user said so; a file system that was
# mounted to be written and is not any more has had errors (ext4: errors=remount-ro).
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """One mounted file system.

    Attributes:
        path: Where.
        device: What.
        type: Kind of file system.
        read_only: Nothing can be written.
        after_errors: It was to be written (its options say what to do on errors) and was made
            read-only, by the kernel or by hand.
        size: Bytes in all.
        free: Bytes that a user without privilege can still write.
        used_share: Used share, 0 to 1, of what such users can use.
        inodes_used_share: Used share of the inodes; not supported where they have no limit.
    """

    path: str
    device: str
    type: str
    read_only: bool
    after_errors: bool
    size: Fact[int]
    free: Fact[int]
    used_share: Fact[float]
    inodes_used_share: Fact[float]


@dataclass(frozen=True)
class Disks:
    """All file systems that hold files.

    Attributes:
        mounts: In the order in which they were mounted; one for each device.
    """

    mounts: Fact[Sequence[Mount]]


def parse(text: str) -> Disks:
    """Return the facts in the output of the snippet."""
    found = Sections(text)
    table = found["mounts"]
    trouble = table.trouble("/proc/self/mounts")
    if trouble:
        return Disks(trouble)
    answers: dict[str, tuple[int, ...]] = {}
    for line in found["stat"].lines:
        numbers, _, path = line.partition(" /")
        words = numbers.split()
        if len(words) == 6 and all(word.isdecimal() for word in words):
            answers["/" + path] = tuple(map(int, words))
    silent = found["stat"].trouble("stat") if found["stat"].status is None else None
    fstab = {
        words[1]: words[3].split(",")
        for line in found["fstab"].lines
        if not line.lstrip().startswith("#") and len(words := line.split()) >= 4
    }
    mounts: dict[str, Mount] = {}
    for line in table.lines:
        words = line.split(" ")
        if len(words) < 4 or _NO_DISK.fullmatch(words[2]):
            continue
        device, where, kind, options = words[:4]
        # The root of a container is an overlay; other overlays are containers' own business.
        if kind == "overlay" and where != "/":
            continue
        path = _plain(where)
        # A container sees single files of its host (/etc/hosts), and one disk in many places.
        if device in mounts and device.startswith("/"):
            continue
        flags = options.split(",")
        wanted = fstab.get(where)
        read_only = "ro" in flags
        after_errors = (
            read_only
            and ("errors=remount-ro" in flags or wanted is not None)
            and "ro" not in (wanted or [])
        )
        mounts[device if device.startswith("/") else path] = _mount(
            path, device, kind, read_only, after_errors, answers.get(path), silent
        )
    return Disks(Known(tuple(mounts.values())))


def _plain(word: str) -> str:
    """Return a path of the table, where blanks and backslashes stand as octal numbers."""
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8) & 0xFF), word)


def _mount(
    path: str,
    device: str,
    kind: str,
    read_only: bool,
    after_errors: bool,
    numbers: tuple[int, ...] | None,
    silent: Unknown | None,
) -> Mount:
    if numbers is None:
        why = silent or absent("stat could not ask it")
        return Mount(path, device, kind, read_only, after_errors, why, why, why, why)
    if numbers[0] == 0:
        hangs = Unknown(Reason.TIMED_OUT, "the file system does not answer")
        return Mount(path, device, kind, read_only, after_errors, hangs, hangs, hangs, hangs)
    block, total, free, available, inodes, inodes_free = numbers
    used = total - free
    return Mount(
        path,
        device,
        kind,
        read_only,
        after_errors,
        Known(total * block),
        Known(available * block),
        Known(used / (used + available)) if used + available > 0 else absent("it has no blocks"),
        Known(1 - inodes_free / inodes) if inodes > 0 else absent("it counts no inodes"),
    )


# The fields of `stat -f`: block size, blocks, free, available, inodes, free inodes, name.
_SNIPPET = r"""
show mounts /proc/self/mounts
show fstab /etc/fstab
printf '[stat]\n'
set --
while read -r device path type rest; do
case $type in
autofs|binfmt_misc|bpf|cgroup*|configfs|debugfs|devpts|efivarfs|fusectl|mqueue|nsfs|proc|pstore|\
securityfs|sysfs|tracefs|squashfs) continue;;
overlay) [ "$path" = / ] || continue;;
esac
case $path in
*\\*) path=$(printf %b "$(printf %s "$path" | sed 's/\\\([0-7]\)/\\0\1/g')");;
esac
case $type in
nfs*|cifs|smb*|fuse*|9p|ceph|lustre|glusterfs|afs|gpfs|beegfs*)
within 3 stat -f -c '%S %b %f %a %c %d %n' "$path"
[ $? -eq 124 ] && printf '0 0 0 0 0 0 %s\n' "$path";;
*) set -- "$@" "$path";;
esac
done </proc/self/mounts
[ $# -gt 0 ] && within 10 stat -f -c '%S %b %f %a %c %d %n' "$@"
printf '\n[stat=0]\n'"""

PROBE = Probe("disks", _SNIPPET.strip(), parse, order=90)
