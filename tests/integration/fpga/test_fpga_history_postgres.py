"""The history of runs on a real PostgreSQL server: the same answers as from a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from postgres_server import Server

from labctl.fpga import history
from labctl.fpga.model import Core, TestCase, Variant
from labctl.fpga.record import About
from labctl.fpga.results import JobResult
from labctl.fpga.selection import Job, Unit

START, DAY = 1_800_000_000.0, 86400.0


def result(test: str, seed: int, status: str, seconds: float) -> JobResult:
    unit = Unit(Core("c", Path("c"), "", "t", ()), Variant("W=8"), TestCase("m", test, Path(), 1))
    return JobResult(Job(unit, seed), status, "why\0\ud800", (), seconds)


def filled() -> tuple[object, object, object]:
    assert (history.expected("p"), history.rows()) == ({}, [])
    for day, commit, status in ((0, "a", "passed"), (390, "a", "failed"), (401, "b", "failed")):
        some = [result("one", 2**31 - 1, status, 1.5), result("one", 2, "passed", 2.5)]
        history.add(About(START + day * DAY, "h", "p", commit), 9.0, some)
    history.add(About(START + 401 * DAY, "h", "q", ""), 9.0, [result("two", 1, "hung", 1.0)])
    return history.expected("p"), history.rows("p"), history.rows(since=START + 400 * DAY)


def test_a_server_answers_as_a_file_does(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(history.VARIABLE, str(tmp_path / "h.sqlite"))
    expected = filled()
    monkeypatch.setenv(history.VARIABLE, postgres.url(postgres.fresh()))
    assert filled() == expected
    (row,) = history.rows("p")  # the oldest regression is gone with its runs
    assert (row.runs, row.failed, row.since, row.trend) == (4, 2, "a", (2.0, 2.0))
