"""What ``labctl fpga coverage`` shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from labctl.cli.common import AppContext
from labctl.cli.fpga_coverage import coverage
from labctl.fpga.coverage.model import CoverageData, Hits
from labctl.fpga.coverage.store import save


@pytest.fixture(autouse=True)
def context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AppContext, "current", AppContext(), raising=False)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    found = []
    for name, mask in (("a", 0b0011), ("b", 0b0110), ("c", 0b0010)):
        data = CoverageData()
        bins = {f"n={at}": mask >> at & 1 for at in range(12)}
        data.add(f"fifo:test.t@{name}", [Hits.of_counts("functional", "fifo/f", bins)])
        save(tmp_path / name, data)
        found.append(str(tmp_path / name))
    return found


def test_a_table_and_the_runs_that_are_needed(files: list[str]) -> None:
    done = CliRunner().invoke(coverage, files, standalone_mode=False)
    assert done.return_value == 0
    lines = [line.split() for line in done.output.splitlines()]
    assert lines[1][:5] == ["functional", "fifo/f", "3", "12", "25.0"]
    assert "n=3, n=4, n=5, n=6, n=7, n=8 and 3 more" in done.output
    assert "2 of 3 runs reach all of it:" in done.output
    assert "fifo:test.t@a adds 2" in done.output
    assert "fifo:test.t@b adds 1" in done.output


def test_json_and_the_sum(files: list[str], tmp_path: Path) -> None:
    total = tmp_path / "total"
    done = CliRunner().invoke(coverage, [*files, "-o", str(total), "--json"], standalone_mode=False)
    said = json.loads(done.output)
    assert said["schema"] == "labctl.fpga-coverage-report/1"
    assert said["file"] == str(total)
    assert said["scopes"][0]["missing"] == [f"n={at}" for at in range(3, 12)]
    assert said["idle"] == ["fifo:test.t@c"]
    again = CliRunner().invoke(coverage, [str(total), "--json"], standalone_mode=False)
    assert json.loads(again.output)["scopes"] == said["scopes"]


def test_nothing_was_counted(tmp_path: Path) -> None:
    save(tmp_path / "empty", CoverageData())
    done = CliRunner().invoke(coverage, [str(tmp_path / "empty")], standalone_mode=False)
    assert "no run counted anything" in done.output
