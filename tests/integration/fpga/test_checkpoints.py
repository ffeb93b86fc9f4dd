"""Waves of the last of a run: replayed by a sleeping copy, where a copy of it can be made."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labctl import procs
from labctl.fpga.waves.fst import FstFile

Labctl = Callable[..., subprocess.CompletedProcess[str]]
DESIGNS = Path(__file__).parent / "designs"
pytestmark = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog is not installed: apt install iverilog"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("xdg")


@pytest.fixture(scope="module")
def labctl(base: Path) -> Labctl:
    def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        own = {f"XDG_{one}_HOME": str(base / one.lower()) for one in ("CACHE", "STATE", "CONFIG")}
        return subprocess.run(
            [sys.executable, "-m", "labctl", "fpga", *map(str, arguments)],
            env={**os.environ, **own}, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    return call


@pytest.fixture(scope="module")
def jobs(labctl: Labctl) -> dict[str, Any]:
    done = labctl("test", "-C", DESIGNS, "late", "--seed", "3", "--last", "0.1", "--json")
    assert done.returncode == 1, done.stderr
    return {one["test"].partition(".test_")[2]: one for one in json.loads(done.stdout)["jobs"]}


def waves_of(job: dict[str, Any]) -> FstFile:
    return FstFile(Path(job["waves"]))


@pytest.mark.parametrize("test", ["long", "reads_a_file"])
def test_the_last_of_a_long_run_holds_the_failure(jobs: dict[str, Any], test: str) -> None:
    job = jobs[test]
    assert Path(job["waves"]).parent == Path(job["folder"], "last")  # not run a second time
    waves = waves_of(job)
    assert 0 < waves.start < waves.end
    end_ns = waves.end * waves.unit_s * 1e9
    assert end_ns == pytest.approx(job["sim_ns"])
    signals = {one.short: one for one in waves.signals}
    found = waves.traces(signals.values())
    wrong, count = found[signals["wrong"].name], found[signals["count"].name]
    # The very cycle that the test complained of, and many before it.
    assert (wrong.times[-1], wrong.values[-1]) == (waves.end, "1")
    cycle = re.search(r"wrong in cycle (\d+)", job["message"])
    assert cycle
    assert int(count.values[-1], 2) - 1 == int(cycle[1])
    numbers = [int(one, 2) for one in count.values]
    assert len(numbers) > 100
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


@pytest.mark.parametrize("test", ["short", "writes_a_file"])
def test_where_a_copy_is_none_or_not_all_the_run_is_repeated(
    jobs: dict[str, Any], test: str
) -> None:
    job = jobs[test]
    assert Path(job["waves"]).parent.name.startswith("waves-")
    assert not Path(job["folder"], "last").exists()
    waves = waves_of(job)
    assert waves.start == 0
    assert waves.end * waves.unit_s * 1e9 == pytest.approx(job["sim_ns"])


def test_no_copy_outlives_the_run(base: Path, jobs: dict[str, Any]) -> None:
    assert (jobs["crash"]["status"], jobs["crash"]["waves"]) == ("error", None)
    assert "SIGABRT" in jobs["crash"]["message"]
    programs = list((base / "cache").rglob("sim.vvp"))
    assert programs
    assert [one for path in programs for one in procs.find_by_word(str(path))] == []


def test_a_viewer_gets_what_was_recorded_with_a_list_of_signals(
    labctl: Labctl, jobs: dict[str, Any]
) -> None:
    job = jobs["long"]
    done = labctl("waves", "-C", DESIGNS, job["id"], "--print")
    assert done.returncode == 0, done.stderr
    waves, gtkwave, surfer = map(Path, done.stdout.split())
    assert str(waves) == job["waves"]  # nothing was run for it
    lines = gtkwave.read_text().splitlines()
    assert f'[dumpfile] "{waves}"' in lines
    names = [one for one in lines if one.startswith("late.")]
    # Clock and reset, then what the test complained of.
    assert names == ["late.clk", "late.rst", "late.wrong", "late.limit[31:0]", "late.count[31:0]"]
    added = [one.split()[1] for one in surfer.read_text().splitlines() if "variable_add" in one]
    assert added == [one.partition("[")[0] for one in names]


def test_the_regression_is_a_page_a_junit_file_and_history(
    labctl: Labctl, jobs: dict[str, Any], tmp_path: Path
) -> None:
    html, junit = tmp_path / "r.html", tmp_path / "r.xml"
    done = labctl("report", "--html", html, "--junit", junit, "--json")
    assert done.returncode == 1, done.stderr
    data = json.loads(done.stdout)
    counts = data["summary"]
    assert {key: counts[key] for key in ("passed", "failed", "skipped", "error")} == {
        "passed": 0, "failed": 4, "skipped": 0, "error": 1,
    }  # fmt: skip
    text = html.read_text()
    assert text.count('<svg class="waves"') == 4
    failures = "".join(one.text or "" for one in ET.parse(junit).getroot().iter("failure"))
    for job in jobs.values():
        assert job["repro"] in text
        if job["status"] == "failed":
            assert job["repro"] in failures
    told = labctl("history", "test_long", "--since", "1h", "--json")
    (test,) = json.loads(told.stdout)["tests"]
    assert (test["id"], test["runs"], test["failed"]) == ("late:test_late.test_long", 1, 1)
    assert test["status"] == "failed"
    assert labctl("history", "--since", "yesterday").returncode == 2
    assert labctl("report", "no-such-run").returncode == 2
