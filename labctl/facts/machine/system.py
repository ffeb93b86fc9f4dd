"""The machine itself: name, kernel, release, uptime, whether it is a container or virtual."""

from __future__ import annotations

from dataclasses import dataclass

from labctl.facts.machine.probe import Probe, Sections, first_line
from labctl.facts.value import Fact, Known, absent, parsed


@dataclass(frozen=True)
class System:
    """The machine itself.

    Attributes:
        hostname: As the kernel says it (uname -n).
        kernel: Release of the running kernel (uname -r).
        architecture: As uname -m says it.
        release: ``PRETTY_NAME`` of os-release(5).
        uptime_s: Seconds since boot.
        cpus: Processors in use.
        virtual: What systemd-detect-virt(1) says: ``none``, ``kvm``, ``docker``, ...
    """

    hostname: Fact[str]
    kernel: Fact[str]
    architecture: Fact[str]
    release: Fact[str]
    uptime_s: Fact[float]
    cpus: Fact[int]
    virtual: Fact[str]


def parse(text: str) -> System:
    """Return the facts in the output of the snippet."""
    found = Sections(text)
    words = found["uname"].text.split()
    # The node's name cannot hold a blank; the order is the one of uname, not of its options.
    trouble = found["uname"].trouble("uname") or absent("uname said too little")
    names: list[Fact[str]] = [Known(word) for word in words] if len(words) == 3 else [trouble] * 3
    node, kernel, architecture = names
    pretty: Fact[str] = found["release"].trouble("/etc/os-release") or absent("no PRETTY_NAME")
    for line in found["release"].lines:
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            pretty = Known(value.strip("\"' "))
    virtual = found["virt"]
    return System(
        node,
        kernel,
        architecture,
        pretty,
        found["uptime"].trouble("/proc/uptime")
        or parsed(found["uptime"].text.partition(" ")[0], float),
        found["cpus"].trouble("getconf") or parsed(found["cpus"].text, int),
        # It prints "none" and fails where there is no virtualisation.
        Known(virtual.lines[0].strip())
        if virtual.status in (0, 1) and virtual.lines
        else first_line(virtual, "systemd-detect-virt"),
    )


PROBE = Probe(
    "system",
    """\
part uname 5 uname -n -r -m
show release /etc/os-release
show uptime /proc/uptime
part cpus 5 getconf _NPROCESSORS_ONLN
part virt 5 systemd-detect-virt""",
    parse,
    order=10,
)
