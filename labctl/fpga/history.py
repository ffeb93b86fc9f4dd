"""What came of runs until now: which tests fail, which fail at times, how long they take.

One row for each run, in a database that `labctl.store` opens: a file of the user's, or what
``$LABCTL_FPGA_DB`` names, so that people and machines share one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.errors import LabctlError
from labctl.fpga.queue import Expected
from labctl.fpga.record import About
from labctl.paths import state_dir
from labctl.store.database import opened
from labctl.store.schema import NothingThereError, Schema

if TYPE_CHECKING:
    from labctl.fpga.regression import Outcome
    from labctl.fpga.results import JobResult
    from labctl.fpga.selection import Unit

VARIABLE = "LABCTL_FPGA_DB"
# Runs older than this are taken out when others are put in.
_KEPT_S = 400 * 86400
# What is expected of a test rests on its last regressions.
_LOOKED_AT = 5

SCHEMA = Schema(
    "fpga",
    (
        """
CREATE TABLE regressions (
    id {id},
    time DOUBLE PRECISION NOT NULL,   -- seconds since 1970
    host TEXT NOT NULL,
    project TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL
);
CREATE INDEX regressions_by_time ON regressions (project, time);
CREATE TABLE tests (
    id {id},
    project TEXT NOT NULL,
    core TEXT NOT NULL,
    variant TEXT NOT NULL,            -- name of the set of parameters
    test TEXT NOT NULL,
    simulator TEXT NOT NULL,
    UNIQUE (project, core, variant, test, simulator)
);
CREATE TABLE runs (
    regression INTEGER NOT NULL REFERENCES regressions ON DELETE CASCADE,
    test INTEGER NOT NULL REFERENCES tests,
    seed BIGINT NOT NULL,
    status TEXT NOT NULL,
    message TEXT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    sim_ns DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (test, regression, seed)
) {clustered};
CREATE INDEX runs_by_regression ON runs (regression);
""",
    ),
)


@dataclass(frozen=True)
class Row:
    """A test in the time that was asked for.

    Attributes:
        core: Its core.
        variant: The set of parameters.
        test: ``module.function``.
        simulator: Where it ran.
        runs: How many.
        failed: How many of them were not fine.
        flaky: Share of the regressions after the first in which it changed between fine and not
            fine although the commit was the same and nothing had been edited, 0 to 1.
        status: ``passed`` or ``failed`` in the last regression with it.
        seconds: Median time of a run, wall-clock.
        last: When it ran last, seconds since 1970.
        since: Commit of the first of the regressions in a row in which it failed; empty if it
            passes, or nobody knows.
        trend: Mean seconds of a run in each regression, the oldest first.
    """

    core: str
    variant: str
    test: str
    simulator: str
    runs: int
    failed: int
    flaky: float
    status: str
    seconds: float
    last: float
    since: str
    trend: tuple[float, ...]

    @property
    def name(self) -> str:
        """``core[:variant]:module.function``."""
        return ":".join(one for one in (self.core, self.variant, self.test) if one)

    def matches(self, pattern: str) -> bool:
        """Tell whether ``pattern`` names it: a part of its name, or all of it, with * and ?."""
        module, _, function = self.test.rpartition(".")
        words = (self.name, self.core, self.variant, self.test, module, function)
        return any(word == pattern or fnmatchcase(word, pattern) for word in words if word)


class Past:
    """The history of a project around a regression: a fault of the database does not stop it.

    Args:
        project: The name of the project.
    """

    def __init__(self, project: str) -> None:
        self._project = project
        self._faults: list[str] = []

    def expected(self) -> Mapping[str, Expected]:
        """Return what to expect of the tests; nothing where the database cannot be read."""
        try:
            return expected(self._project)
        except LabctlError as error:
            self._faults.append(f"the order is not that of the history: {error}")
            return {}

    def keep(self, where: About, outcome: Outcome) -> Outcome:
        """Keep what came of the regression; return it with a note if that was not possible."""
        try:
            add(where, outcome.seconds, outcome.results)
        except LabctlError as error:
            self._faults.append(f"this regression is not in the history: {error}")
        return replace(outcome, notes=(*outcome.notes, *self._faults))


def place() -> str | Path:
    """Return where it is kept: a path, or the URL of a server."""
    return os.environ.get(VARIABLE) or state_dir() / "fpga" / "history.sqlite"


def add(where: About, seconds: float, results: Iterable[JobResult]) -> None:
    """Keep what came of a regression.

    Raises:
        LabctlError: The database is locked, damaged, full, or cannot be reached.
    """
    with opened(place(), SCHEMA) as database:
        (number,) = database.execute(
            "INSERT INTO regressions (time, host, project, commit_id, seconds) "
            "VALUES (?, ?, ?, ?, ?) RETURNING id",
            (where.time, where.host, where.project, where.commit, seconds),
        ).fetchone()
        results = list(results)
        tests = {_key(where.project, one.job.unit) for one in results}
        database.executemany(
            "INSERT INTO tests (project, core, variant, test, simulator) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (project, core, variant, test, simulator) DO NOTHING",
            sorted(tests),
        )
        found = database.execute(
            "SELECT project, core, variant, test, simulator, id FROM tests WHERE project = ?",
            (where.project,),
        )
        numbers = {tuple(key): number for *key, number in found}
        database.executemany(
            "INSERT INTO runs (regression, test, seed, status, message, seconds, sim_ns) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (test, regression, seed) DO NOTHING",
            [
                (number, numbers[_key(where.project, one.job.unit)], one.job.seed, one.status,
                 one.message[:500], one.seconds, one.sim_ns)
                for one in results
            ],
        )  # fmt: skip
        old = where.time - _KEPT_S
        if database.execute("SELECT 1 FROM regressions WHERE time < ?", (old,)).fetchone():
            database.execute("DELETE FROM regressions WHERE time < ?", (old,))  # with their runs


def expected(project: str) -> dict[str, Expected]:
    """Return what to expect of the tests of ``project``, by ``core[:variant]:module.function``.

    Raises:
        LabctlError: The database is locked, damaged, or cannot be reached.
    """
    try:
        with opened(place(), SCHEMA, write=False) as database:
            rows = database.execute(
                "SELECT t.core, t.variant, t.test, r.regression, AVG(r.seconds), "
                "SUM(CASE WHEN r.status IN ('passed', 'skipped') THEN 0 ELSE 1 END) "
                "FROM runs r JOIN tests t ON t.id = r.test WHERE r.regression IN "
                "(SELECT id FROM regressions WHERE project = ? ORDER BY time DESC LIMIT ?) "
                "AND t.project = ? GROUP BY t.core, t.variant, t.test, r.regression "
                "ORDER BY r.regression",
                (project, _LOOKED_AT, project),
            ).fetchall()
    except NothingThereError:
        return {}
    found: dict[str, Expected] = {}
    for core, variant, test, _, seconds, bad in rows:  # the last one counts
        name = ":".join(one for one in (core, variant, test) if one)
        found[name] = Expected(bool(bad), float(seconds))
    return found


def rows(project: str | None = None, since: float = 0.0) -> list[Row]:
    """Return each test that ran since the time ``since``, in all projects or one.

    Raises:
        LabctlError: The database is locked, damaged, or cannot be reached.
    """
    try:
        with opened(place(), SCHEMA, write=False) as database:
            taken = database.execute(
                "SELECT t.core, t.variant, t.test, t.simulator, g.time, g.commit_id, r.status, "
                "r.seconds "
                "FROM runs r JOIN tests t ON t.id = r.test "
                "JOIN regressions g ON g.id = r.regression "
                "WHERE g.time >= ? AND (? = '' OR g.project = ?) ORDER BY g.time, g.id",
                (since, project or "", project or ""),
            ).fetchall()
    except NothingThereError:
        return []
    tests: dict[tuple[str, str, str, str], dict[tuple[float, str], list[tuple[str, float]]]] = {}
    for core, variant, test, simulator, time, commit, status, seconds in taken:
        several = tests.setdefault((core, variant, test, simulator), {})
        several.setdefault((time, commit), []).append((status, seconds))
    return [_row(*key, several) for key, several in tests.items()]


def _row(
    core: str,
    variant: str,
    test: str,
    simulator: str,
    several: Mapping[tuple[float, str], Sequence[tuple[str, float]]],
) -> Row:
    regressions = list(several.items())
    fine = [all(status in ("passed", "skipped") for status, _ in runs) for _, runs in regressions]
    commits = [commit for (_, commit), _ in regressions]
    changed = sum(
        before != after and commit == commits[index] and commit != "" and commit[-1] != "+"
        for index, (before, after, commit) in enumerate(
            zip(fine, fine[1:], commits[1:], strict=False)
        )
    )
    since = ""
    for commit, good in zip(commits[::-1], fine[::-1], strict=True):
        if good:
            break
        since = commit
    runs = [one for _, some in regressions for one in some]
    times = sorted(seconds for _, seconds in runs)
    return Row(
        core,
        variant,
        test,
        simulator,
        len(runs),
        sum(status not in ("passed", "skipped") for status, _ in runs),
        changed / (len(fine) - 1) if len(fine) > 1 else 0.0,
        "passed" if fine[-1] else "failed",
        times[len(times) // 2],
        regressions[-1][0][0],
        since,
        tuple(sum(seconds for _, seconds in some) / len(some) for _, some in regressions),
    )


def _key(project: str, unit: Unit) -> tuple[str, str, str, str, str]:
    core = unit.core
    return (project, core.name, unit.variant.name, unit.test.label, core.simulators[0])
