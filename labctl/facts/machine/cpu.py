"""The processors: what they are, how many of them work, and whether heat held them back.

Sources: proc_cpuinfo(5); Documentation/ABI/testing/sysfs-devices-system-cpu of Linux (online,
present, core_throttle_count, scaling_governor).
"""

from __future__ import annotations

from dataclasses import dataclass

from labctl.facts.machine.probe import Probe, Section, Sections
from labctl.facts.value import Fact, Known, absent, parsed


@dataclass(frozen=True)
class Cpu:
    """The processors.

    Attributes:
        model: Name of the model.
        present: How many are there.
        online: How many of them are in use.
        throttled: How often one was slowed down for its heat since boot; the highest of all.
        governor: What decides over their clocks, such as ``performance``.
    """

    model: Fact[str]
    present: Fact[int]
    online: Fact[int]
    throttled: Fact[int]
    governor: Fact[str]


def parse(text: str) -> Cpu:
    """Return the facts in the output of the snippet."""
    found = Sections(text)
    names = {"model name", "Model", "Hardware", "cpu model"}  # x86, ARM boards, MIPS
    model: Fact[str] = found["model"].trouble("/proc/cpuinfo") or absent("it tells no model")
    for line in found["model"].lines:
        key, _, value = line.partition(":")
        if key.strip() in names and value.strip():
            model = Known(" ".join(value.split()))
            break
    counts = found["throttled"]
    numbers = [int(line) for line in counts.lines if line.strip().isdecimal()]
    governor = found["governor"]
    words = sorted({line.strip() for line in governor.lines})
    return Cpu(
        model,
        _count(found["present"]),
        _count(found["online"]),
        counts.trouble("/sys/devices/system/cpu")
        or (Known(max(numbers)) if numbers else absent("they do not count it")),
        governor.trouble("/sys/devices/system/cpu")
        or (Known(", ".join(words)) if words else absent("nothing decides over their clocks")),
    )


def _count(section: Section) -> Fact[int]:
    """Return how many a list such as ``0-3,8-11`` names."""

    def count(text: str) -> int:
        total = 0
        for part in text.split(","):
            low, dash, high = part.partition("-")
            total += (int(high) if dash else int(low)) - int(low) + 1
        if total < 1:
            raise ValueError(text)
        return total

    return section.trouble("/sys/devices/system/cpu") or parsed(section.text, count)


PROBE = Probe(
    "cpu",
    """\
printf '[model]\\n'
grep -m 1 -E '^(model name|Model|Hardware|cpu model)[[:space:]]*:' /proc/cpuinfo
printf '\\n[model=0]\\n'
show present /sys/devices/system/cpu/present
show online /sys/devices/system/cpu/online
printf '[throttled]\\n'
cat /sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count
printf '\\n[throttled=0]\\n[governor]\\n'
cat /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor
printf '\\n[governor=0]\\n'""",
    parse,
)
