"""Memory, swap, and what the kernel had to kill for want of it.

Sources: proc_meminfo(5); oom_kill of /proc/vmstat (Linux 4.13, mm/oom_kill.c).
"""

from __future__ import annotations

from dataclasses import dataclass

from labctl.facts.machine.probe import Probe, Section, Sections
from labctl.facts.value import Fact, Known, absent, parsed


@dataclass(frozen=True)
class Memory:
    """Memory and swap in bytes.

    Attributes:
        total: Memory that the kernel manages.
        available: What programs could get without swapping.
        available_share: ``available`` of ``total``, 0 to 1.
        swap_total: Swap space, 0 if there is none.
        swap_used_share: Used share of it; absent without swap.
        oom_kills: Processes killed for want of memory since boot.
    """

    total: Fact[int]
    available: Fact[int]
    available_share: Fact[float]
    swap_total: Fact[int]
    swap_used_share: Fact[float]
    oom_kills: Fact[int]


def parse(text: str) -> Memory:
    """Return the facts in the output of the snippet."""
    found = Sections(text)
    info = found["meminfo"]
    total, available = _kib(info, "MemTotal"), _kib(info, "MemAvailable")
    swap, free = _kib(info, "SwapTotal"), _kib(info, "SwapFree")
    kills = found["vmstat"].trouble("/proc/vmstat")
    for line in found["vmstat"].lines:
        key, _, value = line.partition(" ")
        if key == "oom_kill":
            return Memory(
                total,
                available,
                _share(available, total),
                swap,
                _used(free, swap),
                parsed(value, int),
            )
    return Memory(
        total,
        available,
        _share(available, total),
        swap,
        _used(free, swap),
        kills or absent("no oom_kill in /proc/vmstat"),
    )


def _kib(section: Section, key: str) -> Fact[int]:
    for line in section.lines:
        name, _, rest = line.partition(":")
        if name == key:
            number = parsed(rest.strip().removesuffix("kB"), int)
            return Known(number.value * 1024) if isinstance(number, Known) else number
    return section.trouble("/proc/meminfo") or absent(f"no {key} in /proc/meminfo")


def _share(part: Fact[int], whole: Fact[int]) -> Fact[float]:
    if not isinstance(part, Known):
        return part
    if not isinstance(whole, Known):
        return whole
    return Known(part.value / whole.value) if whole.value > 0 else absent("there is none")


def _used(free: Fact[int], whole: Fact[int]) -> Fact[float]:
    share = _share(free, whole)
    return Known(1 - share.value) if isinstance(share, Known) else share


PROBE = Probe(
    "memory",
    """\
show meminfo /proc/meminfo
printf '[vmstat]\\n'; [ -r /proc/vmstat ] && { grep '^oom_kill ' /proc/vmstat; true; }
printf '[vmstat=%s]\\n' $?""",
    parse,
)
