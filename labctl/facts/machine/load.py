"""Load and pressure.

Sources: proc_loadavg(5); the kernel's Documentation/accounting/psi.rst for pressure.
"""

from __future__ import annotations

from dataclasses import dataclass

from labctl.facts.machine.probe import Probe, Section, Sections
from labctl.facts.value import Fact, Known, Reason, Unknown, parsed, unreadable


@dataclass(frozen=True)
class Load:
    """Load and pressure.

    Attributes:
        load1: Processes running or waiting for disks, mean of the last minute.
        load15: The same of the last 15 minutes.
        cpus: Processors in use.
        cpu_some: Share of the last minute (0 to 1) in which some task waited for a processor.
        memory_full: Share in which all tasks waited for memory.
        io_full: Share in which all tasks waited for disks.
    """

    load1: Fact[float]
    load15: Fact[float]
    cpus: Fact[int]
    cpu_some: Fact[float]
    memory_full: Fact[float]
    io_full: Fact[float]


def parse(text: str) -> Load:
    """Return the facts in the output of the snippet."""
    found = Sections(text)
    section = found["loadavg"]
    words = section.text.split()
    trouble = section.trouble("/proc/loadavg")
    if trouble is None and len(words) < 3:
        trouble = unreadable(section.text)
    return Load(
        trouble or parsed(words[0], float),
        trouble or parsed(words[2], float),
        found["cpus"].trouble("getconf") or parsed(found["cpus"].text, int),
        _pressure(found["cpu"], "some"),
        _pressure(found["memory"], "full"),
        _pressure(found["io"], "full"),
    )


def _pressure(section: Section, kind: str) -> Fact[float]:
    if section.status == 127:
        return Unknown(Reason.NOT_SUPPORTED, "this kernel does not measure pressure")
    trouble = section.trouble("/proc/pressure")
    if trouble:
        # The files are there and refuse to be read where PSI is switched off (psi=0).
        off = section.status == 1 and not section.lines
        return Unknown(Reason.NOT_SUPPORTED, "pressure is switched off") if off else trouble
    for line in section.lines:
        words = line.split()
        if words[0] == kind:
            values = dict(word.partition("=")[::2] for word in words[1:])
            share = parsed(values.get("avg60", ""), float)
            return Known(share.value / 100) if isinstance(share, Known) else share
    return Unknown(Reason.NOT_SUPPORTED, f"no line '{kind}'")


PROBE = Probe(
    "load",
    """\
show loadavg /proc/loadavg
part cpus 5 getconf _NPROCESSORS_ONLN
show cpu /proc/pressure/cpu
show memory /proc/pressure/memory
show io /proc/pressure/io""",
    parse,
)
