"""Who is logged in. Source: who(1), which reads utmp(5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labctl.facts.machine.probe import Probe, Sections
from labctl.facts.value import Fact, Known


@dataclass(frozen=True)
class Users:
    """People at this machine.

    Attributes:
        names: Login names, each once, in alphabetical order.
        sessions: How many terminals they have.
    """

    names: Fact[Sequence[str]]
    sessions: Fact[int]


def parse(text: str) -> Users:
    """Return the facts in the output of the snippet."""
    section = Sections(text)["who"]
    trouble = section.trouble("who")
    if trouble:
        return Users(trouble, trouble)
    names = [line.split()[0] for line in section.lines]
    return Users(Known(tuple(sorted(set(names)))), Known(len(names)))


PROBE = Probe("users", "part who 5 who", parse)
