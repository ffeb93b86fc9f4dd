"""Is this block device free to be written? Said by what the board's kernel knows of it.

Sources: proc_pid_mountinfo(5), proc(5) (``/proc/swaps``), Linux's
Documentation/ABI/testing/sysfs-block (size in sectors of 512 bytes, ro, holders).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from labctl.boards.flash.method import FlashError, Identity, RefusedError

_SECTOR = 512
_OCTAL = re.compile(r"\\([0-7]{3})")
# uname's and ELF's names of the same processors.
_ARCHITECTURES = {
    "armv6l": "arm",
    "armv7l": "arm",
    "armv8l": "arm",
    "i686": "i386",
    "ppc64le": "ppc64",
}
# A machine-id belongs to what is installed, and changes when a board is flashed.
_UNIQUE = frozenset({"serial-number", "mac"})
_FACTS = ("model", "product", "serial-number", "mac", "machine-id", "machine", "linux")


@dataclass(frozen=True)
class Device:
    """What a board says of a block device.

    Attributes:
        name: As it was asked for.
        real: Its own name, after links; empty if there is no such thing.
        is_block: It is a block device.
        whole: It is a disk, not a partition.
        size: Bytes.
        read_only: It cannot be written.
        mounts: Where it, or a partition of it, is mounted, with the name of what is mounted.
        swaps: What of it is used as swap.
        holders: What is built on it (RAID, LVM, encryption), with the part that it holds.
        others: Block devices that there are.
    """

    name: str
    real: str = ""
    is_block: bool = False
    whole: bool = False
    size: int = 0
    read_only: bool = False
    mounts: tuple[tuple[str, str], ...] = ()
    swaps: tuple[str, ...] = ()
    holders: tuple[tuple[str, str], ...] = ()
    others: tuple[str, ...] = field(default=(), repr=False)


def parse_device(name: str, text: str) -> Device:
    """Return what ``text`` says, the output of `labctl.boards.flash.linux.scripts.look`.

    Raises:
        FlashError: It is not that.
    """
    facts: dict[str, list[str]] = {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        facts.setdefault(word, []).append(rest)
    if "real" not in facts or "other" not in facts:
        raise FlashError("its shell did not say what is known of the device", thing=name,
                         action="is /sys mounted there?")  # fmt: skip
    parts = [one.split() for one in facts.get("part", ())]
    numbers = {one[1]: one[0] for one in parts if len(one) > 1}
    paths = {f"/dev/{one[0]}" for one in parts if one}
    sectors = facts.get("size", ["0"])[0]
    return Device(
        name=name,
        real=facts["real"][0],
        is_block="block" in facts,
        whole="whole" in facts,
        size=int(sectors) * _SECTOR if sectors.isdigit() else 0,
        read_only=facts.get("ro", ["0"])[0].strip() == "1",
        mounts=tuple(dict.fromkeys(_mounts(facts.get("mount", ()), numbers, paths))),
        swaps=tuple(
            one.split()[0] for one in facts.get("swap", ()) if one.split()[:1] and
            one.split()[0] in paths
        ),
        holders=tuple((holder, one[0]) for one in parts for holder in one[2:]),
        others=tuple(facts["other"][0].split()),
    )  # fmt: skip


def _mounts(
    lines: Iterable[str], numbers: dict[str, str], paths: set[str]
) -> Iterator[tuple[str, str]]:
    """Yield mount point and part for each mount of a part of the device."""
    for line in lines:
        words = line.split(" ")
        if len(words) < 10 or "-" not in words[6:]:
            continue
        source = words[words.index("-", 6) + 2]
        # File systems over several devices (btrfs) have a number of their own.
        part = numbers.get(words[2]) or (source.rpartition("/")[2] if source in paths else None)
        if part is not None:
            yield _OCTAL.sub(lambda match: chr(int(match[1], 8)), words[4]), part


def check_device(device: Device, *, end: int, may_unmount: Iterable[str]) -> list[str]:
    """Refuse a device that is in use, too small, or none; return what is to be unmounted first.

    Args:
        device: What the board says of it.
        end: Byte after the last that is to be written.
        may_unmount: Mount points that the board's model gives up.

    Raises:
        RefusedError: It must not be written; the message says why.
    """
    there = " ".join(one for one in device.others if not one.startswith(("loop", "ram")))
    if not device.real or not (device.is_block or device.size):
        raise RefusedError(f"it has no {device.name}", thing=device.name,
                           action=f"its block devices: {there or 'none'}")  # fmt: skip
    if not device.is_block:
        raise RefusedError("it is no block device", thing=device.name,
                           action=f"the board's block devices: {there or 'none'}")  # fmt: skip
    if device.read_only:
        raise RefusedError("it is read-only", thing=device.name,
                           action="look for its write-protect switch")  # fmt: skip
    if end > device.size:
        raise RefusedError(f"it has {device.size:,} bytes, the image needs {end:,}",
                           thing=device.name, action="take a smaller image")  # fmt: skip
    if device.swaps:
        raise RefusedError(f"{device.swaps[0]} is in use as swap", thing=device.name,
                           action="swapoff it on the board first")  # fmt: skip
    if device.holders:
        holder, part = device.holders[0]
        raise RefusedError(f"{part} is part of {holder}", thing=device.name,
                           action=f"stop {holder} on the board first")  # fmt: skip
    allowed = set(may_unmount)
    for point, part in device.mounts:
        if point == "/":
            raise RefusedError(
                f"the board's running system is on it ({part})", thing=device.name,
                action="boot it from another device, or use another method",
            )  # fmt: skip
        if point not in allowed:
            raise RefusedError(
                f"{part} is mounted at {point}", thing=device.name,
                action=f"umount it on the board, or add '{point}' to 'unmount' in its model",
            )  # fmt: skip
    # What is mounted below another one goes first.
    return sorted({point for point, _ in device.mounts}, reverse=True)


def parse_identity(text: str) -> Identity:
    """Return who the board is, from the output of `labctl.boards.flash.linux.scripts.identify`."""
    said: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name in _FACTS and value.strip():
            said.setdefault(name, value.strip())
    machine = said.get("machine")
    return Identity(
        facts={name: said[name] for name in _FACTS if name in said},
        unique=_UNIQUE & said.keys(),
        architecture=_ARCHITECTURES.get(machine, machine) if machine else None,
    )
