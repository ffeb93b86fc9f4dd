from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from labctl.errors import LabctlError
from labctl.fpga import history
from labctl.fpga.model import Core, TestCase, Variant
from labctl.fpga.queue import Expected
from labctl.fpga.record import About
from labctl.fpga.regression import Outcome
from labctl.fpga.results import Case, JobResult
from labctl.fpga.selection import Job, Unit

DAY = 86400.0
START = 1_800_000_000.0


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(history.VARIABLE, str(tmp_path / "h.sqlite"))
    return tmp_path / "h.sqlite"


def result(
    test: str, seed: int, status: str = "passed", seconds: float = 1.0, variant: str = ""
) -> JobResult:
    unit = Unit(Core("c", Path("c"), "", "t", ()), Variant(variant), TestCase("m", test, Path(), 1))
    case = Case(f"m.{test}", status, sim_ns=5.0)
    return JobResult(Job(unit, seed), status, "why" * (status != "passed"), (case,), seconds)


def add(day: float, commit: str, *results: JobResult, project: str = "p") -> None:
    history.add(About(START + day * DAY, "host", project, commit), 1.0, results)


def statuses(test: str, told: Sequence[str], commits: Sequence[str]) -> history.Row:
    for day, (status, commit) in enumerate(zip(told, commits, strict=True)):
        add(day, commit, result(test, day, status))
    return next(one for one in history.rows() if one.test == f"m.{test}")


def test_nothing_is_known_at_first(database: Path) -> None:
    assert (history.expected("p"), history.rows()) == ({}, [])
    assert not database.exists()  # who only asks makes nothing


def test_runs_are_counted_by_test_and_parameters() -> None:
    add(0, "a", result("one", 1), result("one", 2, "hung", 3.0), result("one", 1, variant="W=8"))
    add(1, "a", result("one", 1, seconds=5.0), project="other")
    found = {(one.name, one.runs, one.failed, one.status) for one in history.rows("p")}
    assert found == {("c:m.one", 2, 1, "failed"), ("c:W=8:m.one", 1, 0, "passed")}
    assert sum(one.runs for one in history.rows()) == 4
    assert [one.runs for one in history.rows(since=START + DAY / 2)] == [1]


def test_the_order_rests_on_the_last_run_of_each_test() -> None:
    add(0, "a", result("one", 1, "failed", 9.0), result("two", 1, "error", 2.0))
    add(1, "a", result("one", 2, seconds=1.0), result("one", 3, seconds=3.0))
    assert history.expected("p") == {
        "c:m.one": Expected(False, 2.0),
        "c:m.two": Expected(True, 2.0),
    }
    assert history.expected("q") == {}


@pytest.mark.parametrize(
    ("told", "commits", "flaky", "since"),
    [
        (["passed"], ["a"], 0.0, ""),
        (["passed", "failed"], ["a", "b"], 0.0, "b"),  # the commit broke it
        (["passed", "failed"], ["a", "a"], 1.0, "a"),  # nothing changed, and it fails
        (["passed", "failed"], ["a+", "a+"], 0.0, "a+"),  # something may have been edited
        (["passed", "failed"], ["", ""], 0.0, ""),  # nobody knows
        (["failed", "failed", "failed"], ["a", "b", "c"], 0.0, "a"),
        (["passed", "failed", "passed", "passed", "failed"], ["a", "a", "a", "b", "b"], 0.75, "b"),
        (["skipped", "passed", "skipped"], ["a", "a", "a"], 0.0, ""),
    ],
)
def test_flaky_is_what_changes_though_nothing_else_does(
    told: list[str], commits: list[str], flaky: float, since: str
) -> None:
    row = statuses("t", told, commits)
    assert (row.flaky, row.since, row.runs) == (flaky, since, len(told))
    assert row.trend == (1.0,) * len(told)


def test_old_runs_are_forgotten() -> None:
    add(0, "a", result("old", 1))
    add(390, "a", result("new", 1))
    assert {one.test for one in history.rows()} == {"m.old", "m.new"}
    add(401, "a", result("new", 1))
    assert {(one.test, one.runs) for one in history.rows()} == {("m.new", 2)}


def test_a_regression_does_not_end_with_its_database(database: Path) -> None:
    database.write_bytes(b"no database" * 100)
    with pytest.raises(LabctlError):
        history.rows()
    past = history.Past("p")
    assert past.expected() == {}
    outcome = past.keep(About(START, "h", "p", ""), Outcome((), 0, 0, 1.0, ("first",)))
    assert outcome.notes[0] == "first"
    assert [one.partition(":")[0] for one in outcome.notes[1:]] == [
        "the order is not that of the history", "this regression is not in the history",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "hit"),
    [("c", True), ("one", True), ("m", True), ("c:m.o*", True), ("two", False), ("o", False)],
)
def test_patterns_name_parts(pattern: str, hit: bool) -> None:
    add(0, "a", result("one", 1))
    assert history.rows()[0].matches(pattern) is hit
