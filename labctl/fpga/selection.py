"""Jobs: a test of a core with one set of parameters and one seed, each with a name of its own.

The name of a job is ``core[:variant]:module.function@seed``. It says all that is needed to run it
again, and has no character that a shell would take for something else.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from labctl.errors import UsageError
from labctl.fpga.model import Core, Project, TestCase, Variant
from labctl.inventory.diagnostics import did_you_mean, quote

# cocotb takes any integer; these are also valid for $random and others that take 32 bits.
_SEEDS = 2**31


@dataclass(frozen=True)
class Unit:
    """A test of a core with one set of parameters."""

    core: Core
    variant: Variant
    test: TestCase

    @property
    def name(self) -> str:
        """``core[:variant]:module.function``."""
        parts = (self.core.name, self.variant.name, self.test.label)
        return ":".join(part for part in parts if part)


@dataclass(frozen=True)
class Job:
    """A unit with a seed: what is run."""

    unit: Unit
    seed: int

    @property
    def name(self) -> str:
        """``core[:variant]:module.function@seed``."""
        return f"{self.unit.name}@{self.seed}"


def new_base_seed() -> int:
    """Return a seed to begin with, where nobody named one."""
    return random.SystemRandom().randrange(_SEEDS)


def seed_of(base: int, index: int) -> int:
    """Return the seed of the run ``index`` of a regression that began with the seed ``base``.

    It is the base itself for the first, so that a seed that is printed can be named again.
    """
    return (base + index) % _SEEDS


def units_of(cores: Iterable[Core]) -> list[Unit]:
    """Return all that can be run, in the order of the files."""
    return [
        Unit(core, variant, test)
        for core in cores
        for variant in core.variants
        for test in core.tests
    ]


def jobs_of(units: Iterable[Unit], base: int, seeds: int) -> list[Job]:
    """Return what a regression of ``seeds`` seeds from ``base`` runs.

    A test that draws nothing would be the same run each time, so it has the first seed only.
    """
    return [
        Job(unit, seed_of(base, index))
        for unit in units
        for index in range(seeds if unit.test.seeded else 1)
    ]


def select(project: Project, patterns: Sequence[str]) -> list[Unit]:
    """Return the units that match one of ``patterns``; all where there are none.

    A pattern is the name of a core, a variant, a module or a test, or a whole name; ``*`` and
    ``?`` stand for other characters.

    Raises:
        UsageError: A pattern matches nothing, or there is nothing to run.
    """
    units = units_of(project.cores)
    picked = [not patterns] * len(units)
    for pattern in patterns:
        hits = [_matches(unit, pattern) for unit in units]
        if not any(hits):
            known = [word for unit in units for word in _words(unit)]
            raise UsageError(
                f"no test is selected by {quote(pattern)}{did_you_mean(pattern, known)}",
                action="'labctl fpga list' names them",
            )
        picked = [old or new for old, new in zip(picked, hits, strict=True)]
    found = [unit for unit, wanted in zip(units, picked, strict=True) if wanted]
    if not found:
        raise UsageError(
            "there are no tests", thing=str(project.root), action="add a module test_*.py to a core"
        )
    return found


def find_job(project: Project, name: str) -> Job:
    """Return the job that ``name`` says.

    Raises:
        UsageError: It is not a name of a job, or there is no such test.
    """
    label, at, seed = name.rpartition("@")
    if not at or not seed.isdecimal() or len(seed) > 10:
        raise UsageError(
            "this is not the name of a run",
            thing=quote(name),
            action="write core:module.test@seed, as 'labctl fpga test' prints it",
        )
    known = {unit.name: unit for unit in units_of(project.cores)}
    if label not in known:
        raise UsageError(
            f"there is no test {quote(label)}{did_you_mean(label, known)}",
            action="'labctl fpga list' names them",
        )
    return Job(known[label], int(seed))


def _words(unit: Unit) -> tuple[str, ...]:
    core, variant, test = unit.core.name, unit.variant.name, unit.test
    some = (core, unit.name, test.label, test.module, test.name, f"{core}:{test.label}")
    words = (*some, variant, f"{core}:{variant}") if variant else some
    return tuple(word for word in words if word)


def _matches(unit: Unit, pattern: str) -> bool:
    return any(word == pattern or fnmatchcase(word, pattern) for word in _words(unit))
