"""What a probe is: a snippet of shell that prints state, and a parser of what it printed.

A snippet may use the functions of `labctl.facts.shell`. It writes nothing on the machine, reads no
input, and leaves no process behind but one that the kernel will not let go of. The parser is given
whatever came, from any system, cut off or not, and answers with facts; it does not raise for bad
text.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeVar, get_type_hints

from labctl.facts.value import Fact, Known, Reason, Unknown, absent, from_json

T = TypeVar("T")


@dataclass(frozen=True)
class Probe(Generic[T]):
    """One subject.

    Attributes:
        name: Unique word; rules and JSON call the facts by it.
        snippet: POSIX shell.
        parse: Makes the facts of the snippet's output.
        order: Probes run in this order; those that may hang come last.
    """

    name: str
    snippet: str
    parse: Callable[[str], T]
    order: int = 50

    def read(self, text: str) -> T:
        """Return the facts in ``text``: what the snippet printed, or JSON of `labctl.facts.sent`.

        Raises:
            ValueError: JSON that is none of this probe.
        """
        section = Sections(text)["facts"]
        if section.status is None:
            return self.parse(text)
        facts: T = from_json(get_type_hints(self.parse)["return"], json.loads(section.text))
        return facts


@dataclass(frozen=True)
class Section:
    """What one command of a snippet printed.

    Attributes:
        lines: Its lines without blank ones.
        status: Its exit status; None if the output ends before it did.
    """

    lines: Sequence[str]
    status: int | None

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)

    def trouble(self, what: str) -> Unknown | None:
        """Return why ``what`` has not answered, or None if it has (status 0).

        Sources of the numbers: timeout(1) for 124, POSIX sh for 126 and 127.
        """
        if self.status == 0:
            return None
        if self.status is None:
            return Unknown(Reason.LOST, f"{what}: the answer is cut off")
        if self.status == 124:
            return Unknown(Reason.TIMED_OUT, f"{what} did not end in time")
        if self.status == 127:
            return absent(f"no {what}")
        said = self.lines[-1][:120] if self.lines else "it said nothing"
        denied = self.status == 126 or "ermi" in said or "root" in said  # "permission", "permitted"
        reason = Reason.NO_PERMISSION if denied else Reason.UNREADABLE
        return Unknown(reason, f"{what} failed with status {self.status}: {said}")


class Sections:
    """The output of a snippet, taken apart at the lines that ``part`` and ``show`` print."""

    def __init__(self, text: str) -> None:
        self._found: dict[str, Section] = {}
        name: str | None = None
        lines: list[str] = []
        for line in text.split("\n"):
            if name is None:
                if line.startswith("[") and line.endswith("]"):
                    name, lines = line[1:-1], []
            elif line.startswith(f"[{name}=") and line.endswith("]"):
                status = line[len(name) + 2 : -1]
                self._found[name] = Section(lines, int(status) if status.isdecimal() else None)
                name = None
            elif line.strip():
                lines.append(line)
        if name is not None:
            self._found[name] = Section(lines, None)

    def __getitem__(self, name: str) -> Section:
        """Return the section; an empty one that is cut off where there is none."""
        return self._found.get(name, Section((), None))

    def all(self, prefix: str) -> Mapping[str, Section]:
        """Return the sections whose names begin with ``prefix``, by the rest of the name."""
        return {
            name.removeprefix(prefix): section
            for name, section in self._found.items()
            if name.startswith(prefix)
        }


@cache
def all_probes() -> Sequence[Probe[object]]:
    """Return every probe in this folder, in the order in which they run.

    A probe is a module here with a `PROBE`; nothing else has to know of it.
    """
    package = importlib.import_module("labctl.facts.machine")
    found: list[Probe[object]] = []
    for entry in pkgutil.iter_modules(package.__path__):
        probe = getattr(importlib.import_module(f"{package.__name__}.{entry.name}"), "PROBE", None)
        if isinstance(probe, Probe):
            found.append(probe)
    return sorted(found, key=lambda probe: (probe.order, probe.name))


def first_line(section: Section, what: str) -> Fact[str]:
    """Return the first line that ``what`` printed, or why there is none."""
    trouble = section.trouble(what)
    if trouble:
        return trouble
    return Known(section.lines[0].strip()) if section.lines else absent(f"{what} said nothing")
