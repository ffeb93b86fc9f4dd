"""Which cores a pattern names, where tests have no part in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from labctl.errors import UsageError
from labctl.fpga.model import Core, Project, Variant
from labctl.inventory.diagnostics import did_you_mean, quote


@dataclass(frozen=True)
class Chosen:
    """A core that was chosen.

    Attributes:
        core: The core.
        variants: The sets of parameters that were named; all of them where none was.
        named: Whether sets of parameters were named.
    """

    core: Core
    variants: tuple[Variant, ...]
    named: bool


def choose(project: Project, patterns: Sequence[str]) -> list[Chosen]:
    """Return the cores that match one of ``patterns``; all where there are none.

    A pattern is the name of a core, or ``core:parameters``; ``*`` and ``?`` stand for other
    characters.

    Raises:
        UsageError: A pattern matches nothing.
    """
    whole: set[str] = set()
    parts: dict[str, set[str]] = {}
    for pattern in patterns:
        hit = False
        for core in project.cores:
            if fnmatchcase(core.name, pattern):
                whole.add(core.name)
                hit = True
            for variant in core.variants:
                name = f"{core.name}:{variant.name}"
                if variant.name and ":" in pattern and fnmatchcase(name, pattern):
                    parts.setdefault(core.name, set()).add(variant.name)
                    hit = True
        if not hit:
            known = [core.name for core in project.cores]
            raise UsageError(
                f"no core is selected by {quote(pattern)}{did_you_mean(pattern, known)}",
                action="'labctl fpga list' names them",
            )
    found = []
    for core in project.cores:
        if not patterns or core.name in whole:
            found.append(Chosen(core, core.variants, named=False))
        elif core.name in parts:
            some = tuple(one for one in core.variants if one.name in parts[core.name])
            found.append(Chosen(core, some, named=True))
    return found
