"""Units of systemd that failed. Source: systemctl(1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labctl.facts.machine.probe import Probe, Sections
from labctl.facts.value import Fact, Known, absent


@dataclass(frozen=True)
class Units:
    """Units of systemd.

    Attributes:
        state: What ``systemctl is-system-running`` says: ``running``, ``degraded``, ``starting``...
        failed: Names of failed units.
    """

    state: Fact[str]
    failed: Fact[Sequence[str]]


def parse(text: str) -> Units:
    """Return the facts in the output of the snippet."""
    found = Sections(text)
    section = found["state"]
    # It fails with a word for every state but "running".
    state: Fact[str] = (
        Known(section.lines[0].strip())
        if section.lines and section.status not in (None, 124, 127)
        else section.trouble("systemctl") or absent("systemctl said nothing")
    )
    if state == Known("offline"):
        state = absent("systemd does not run here")
    if not isinstance(state, Known):
        return Units(state, state)
    failed = found["failed"]
    names = [line.split()[0] for line in failed.lines]
    return Units(state, failed.trouble("systemctl list-units") or Known(tuple(names)))


PROBE = Probe(
    "units",
    """\
part state 5 systemctl is-system-running
part failed 5 systemctl list-units --state=failed --plain --no-legend --no-pager""",
    parse,
)
