"""Regressions on the real simulator, with designs that are made to pass and to fail."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labctl import procs

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog is not installed: apt install iverilog"
)
DEADLINE_S = 400.0
Done = subprocess.CompletedProcess[str]
Labctl = Callable[..., Done]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    base = tmp_path_factory.mktemp("xdg")
    return {
        **os.environ,
        "XDG_CACHE_HOME": str(base / "cache"),
        "XDG_STATE_HOME": str(base / "state"),
        "XDG_CONFIG_HOME": str(base / "config"),
    }


@pytest.fixture(scope="module")
def labctl(environment: dict[str, str]) -> Labctl:
    def call(*arguments: str | Path, **more: str) -> Done:
        return subprocess.run(
            [sys.executable, "-m", "labctl", "fpga", *map(str, arguments)],
            env={**environment, **more}, capture_output=True, text=True, timeout=DEADLINE_S,
            check=False,
        )  # fmt: skip

    return call


def data(done: Done) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def designs(tmp_path: Path) -> Path:
    shutil.copytree(HERE / "designs", tmp_path / "designs")
    return tmp_path / "designs"


def drawn(run: dict[str, Any]) -> dict[str, list[str]]:
    """Return what the tests drew at random, by the names of the runs."""
    found = {}
    for job in run["jobs"]:
        log = Path(job["folder"], "log.txt").read_text()
        found[job["id"]] = re.findall(r"drawn: (\d+)", log)
    return found


def test_both_engines_do_the_same(labctl: Labctl, designs: Path) -> None:
    arguments = ("-C", designs, "counter", "--seeds", "3", "--seed", "7", "--keep", "--json")
    fork = labctl("test", *arguments)
    alone = labctl("test", *arguments, "--engine", "process")
    assert (fork.returncode, alone.returncode) == (0, 0), fork.stderr + alone.stderr
    one, other = data(fork), data(alone)
    expected = {"passed": 12, "failed": 0, "hung": 0, "error": 0, "skipped": 6}
    assert {key: one["summary"][key] for key in expected} == expected
    assert (one["compiled"], other["compiled"], other["reused"]) == (2, 0, 2)
    assert one["notes"] == other["notes"] == []
    numbers = drawn(one)
    assert numbers == drawn(other)
    # Each seed draws a number of its own, and the parameters have no part in it.
    assert len({str(some) for some in numbers.values() if some}) == 3
    cases = [len(job["cases"]) for job in one["jobs"] if "test_counts" in job["id"]]
    assert cases == [2] * 6  # both sets of arguments


def test_a_build_is_found_again_until_what_it_includes_changes(
    labctl: Labctl, designs: Path
) -> None:
    def built(*more: str) -> tuple[int, int, int]:
        done = labctl("test", "-C", designs, "counter:WIDTH=4", "test_counts", "--json", *more)
        run = data(done)
        return done.returncode, run["compiled"], run["reused"]

    assert built() == (0, 2, 0)
    assert built() == (0, 0, 2)
    header = designs / "counter/rtl/step.vh"
    right = header.read_text()
    header.write_text("`define STEP 2'd2\n")
    code, compiled, _ = built()
    assert (code, compiled) == (1, 2)
    header.write_text(right)
    assert built() == (0, 0, 2)


def test_build_shows_warnings_now_and_later(labctl: Labctl, designs: Path) -> None:
    source = designs / "counter/rtl/counter.v"
    right = source.read_text()
    source.write_text(right.replace("endmodule", "  wire n = nothing;\nendmodule"))
    assert labctl("build", "-C", designs, "counter").returncode == 1
    source.write_text(right.replace("endmodule", "  wire n = q[99];\nendmodule"))
    for status in ("compiled", "found"):
        done = labctl("build", "-C", designs, "counter", "--json")
        builds = data(done)["builds"]
        assert done.returncode == 0
        assert [one["status"] for one in builds] == [status] * 2
        assert all("counter.v:1" in "".join(one["output"]) for one in builds)


@pytest.fixture(scope="module")
def trouble(labctl: Labctl) -> dict[str, Any]:
    done = labctl("test", "-C", HERE / "designs", "trouble", "hangs", "--seed", "3", "--json")
    assert done.returncode == 1, done.stderr
    return data(done)


@pytest.mark.parametrize(
    ("test", "status", "words"),
    [
        ("fails_for_odd_seeds", "failed", "AssertionError: an odd seed"),
        ("python_loop", "hung", r"Python loops at \S+test_hangs.py:\d+ in test_python_loop"),
        ("design_loop", "hung", r"the design loops .* at 7 ns; the test waits at \S+:\d+"),
        ("no_time_passes", "hung", r"no progress of simulated time at 3 ns"),
        ("never_ends", "hung", r"simulated time goes on.*test_never_ends"),
        ("fatal", "failed", r"FATAL: \S+trouble.v:9: the design says no"),
        ("finish", "failed", r"ended before the test"),
        ("crash", "error", r"SIGABRT"),
        ("leaves_nothing", "error", r"left no results"),
        ("prints_for_ever", "error", r"more than 64 MiB of log"),
        ("eats_memory", "failed", r"MemoryError"),
    ],
)
def test_each_trouble_is_told_apart(
    trouble: dict[str, Any], test: str, status: str, words: str
) -> None:
    job = next(one for one in trouble["jobs"] if one["test"].endswith(f"test_{test}"))
    assert job["status"] == status, job
    assert re.search(words, job["message"]), job
    assert Path(job["folder"], "log.txt").stat().st_size < 64 * 2**20


def test_a_failure_has_waves_and_junit_says_how_to_repeat_it(trouble: dict[str, Any]) -> None:
    by_test = {one["test"].rpartition(".")[2]: one for one in trouble["jobs"]}
    failed = by_test["test_fails_for_odd_seeds"]
    assert Path(failed["waves"]).stat().st_size > 0
    assert by_test["test_crash"]["waves"] is None
    root = ET.parse(Path(trouble["folder"], "junit.xml")).getroot()
    counts = [
        (one.get("name"), one.get("tests"), one.get("failures"), one.get("errors"))
        for one in root.iter("testsuite")
    ]
    assert sorted(counts) == [("hangs", "4", "0", "4"), ("trouble", "7", "4", "3")]
    assert failed["repro"] in (root.findtext(".//failure") or "")


def test_a_loop_in_python_is_left_with_results(trouble: dict[str, Any]) -> None:
    (job,) = (one for one in trouble["jobs"] if one["test"].endswith("test_python_loop"))
    assert [(one["status"], one["message"]) for one in job["cases"]] == [
        ("failed", "StillRunning: ended by labctl: it ran for longer than it may")
    ]


def test_the_printed_command_repeats_the_failure(labctl: Labctl, trouble: dict[str, Any]) -> None:
    first = next(one for one in trouble["jobs"] if "odd_seeds" in one["id"])
    command = first["repro"].split()
    assert command[:3] == ["labctl", "fpga", "repro"]
    again = labctl("repro", *command[3:], "--json")
    assert again.returncode == 1
    run = data(again)["run"]
    assert (run["message"], run["sim_ns"]) == (first["message"], first["sim_ns"])
    even = labctl("repro", *command[3:-1], command[-1].replace("@3", "@4"))
    assert even.returncode == 0, even.stderr
    assert "PASSED" in even.stdout


def test_failures_of_one_kind_are_one_and_the_shortest_is_first(
    labctl: Labctl, designs: Path
) -> None:
    done = labctl(
        "test", "-C", designs, "test_fails_for_odd_seeds", "--seeds", "8", "--seed", "0", "--json"
    )
    run = data(done)
    assert run["summary"]["failed"] == run["summary"]["passed"] == 4
    assert len(run["failures"]) == 1
    jobs = {one["id"]: one for one in run["jobs"]}
    times = [jobs[one]["sim_ns"] for one in run["failures"][0]]
    assert times == sorted(times)
    assert [bool(jobs[one]["waves"]) for one in run["failures"][0]] == [True, False, False, False]


def test_waves_without_a_viewer(labctl: Labctl, designs: Path) -> None:
    name = "counter:WIDTH=4:test_counter.test_counts@1"
    done = labctl("waves", "-C", designs, name, "--no-open")
    assert done.returncode == 0, done.stderr
    # FST begins with a header block: type 0, then its length, 329 (the format in GTKWave's manual).
    assert Path(done.stdout.strip()).read_bytes()[:9] == bytes(7) + (329).to_bytes(2)
    assert labctl("waves", "-C", designs, name, PATH="/none", DISPLAY="").returncode == 2


def test_somebody_elses_makefile(labctl: Labctl, tmp_path: Path) -> None:
    shutil.copytree(HERE / "foreign", tmp_path / "p")
    before = sorted(tmp_path.rglob("*"))
    done = labctl("test", "-C", tmp_path / "p", "--json")
    run = data(done)
    assert done.returncode == 0, run
    assert [one["id"].partition("@")[0] for one in run["jobs"]] == ["tb/half:test_half.test_halves"]
    after = [one for one in tmp_path.rglob("*") if "__pycache__" not in one.parts]
    assert sorted(after) == before  # nothing is left in their folders


@pytest.mark.parametrize(
    ("path", "old", "new", "words"),
    [
        ("rtl/counter.v", "(en)", "en)", r"not built: \S*counter.v:\d+: syntax error"),
        ("rtl/counter.v", "module counter", "module other", "there is no module 'counter'"),
        ("core.yaml", "WIDTH: [4, 8]", "DEPTH: [4, 8]", "counter has no parameter 'DEPTH'"),
        ("rtl/counter.v", "step.vh", "none.vh", r"counter.v:3: Include file none.vh not found"),
        ("tb/tb.py", "from cocotb.clock", "from cocotb.clocks", "does not start: ModuleNotFound"),
    ],
)
def test_what_cannot_run_says_why_once(
    labctl: Labctl, designs: Path, path: str, old: str, new: str, words: str
) -> None:
    shutil.rmtree(designs / "trouble")
    shutil.rmtree(designs / "hangs")
    file = designs / "counter" / path
    file.write_text(file.read_text().replace(old, new, 1))
    done = labctl("test", "-C", designs, "test_counts")
    assert done.returncode == 1
    assert len(re.findall(words, done.stdout)) == 1, done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_bad_usage(labctl: Labctl, designs: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, words in (
        (("test", "-C", designs, "countr"), "did you mean 'counter'"),
        (("test", "-C", empty), "no core.yaml"),
        (("test", "-C", tmp_path / "none"), "no such folder"),
        (("repro", "-C", designs, "counter"), "not the name of a run"),
    ):
        done = labctl(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
    done = labctl("test", "-C", designs, "counter", PATH="/none")
    assert done.returncode == 2
    assert "apt install iverilog" in done.stderr


def test_a_report_that_cannot_be_written_is_said_at_once(labctl: Labctl, designs: Path) -> None:
    done = labctl("test", "-C", designs, "test_says_a_number", "--junit", designs / "no/x.xml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no/x.xml: there is no such folder" in done.stderr


def test_what_the_file_system_refuses_is_told(
    labctl: Labctl, designs: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "state"
    (blocked / "labctl").mkdir(parents=True)
    (blocked / "labctl/fpga").write_text("a file where a folder has to be")
    done = labctl("test", "-C", designs, "test_says_a_number", XDG_STATE_HOME=str(blocked))
    assert done.returncode == 1
    assert "labctl/fpga" in done.stderr
    assert "defect" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_core_with_mistakes_does_not_hide_the_others(labctl: Labctl, designs: Path) -> None:
    (designs / "trouble/core.yaml").write_text("top: x\n")
    done = labctl("test", "-C", designs, "test_says_a_number")
    assert done.returncode == 2
    assert "trouble/core.yaml:1:1: 'description' is missing" in done.stderr
    assert "2 passed" in done.stdout


def test_an_interrupted_run_leaves_nothing(
    environment: dict[str, str], designs: Path, tmp_path: Path
) -> None:
    own = {**environment, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-m", "labctl", "fpga", "test", "-C", str(designs), "test_python_loop"],
        env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def simulators() -> list[procs.ProcessId]:
        files = [str(one) for one in (tmp_path / "cache").rglob("sim.vvp")]
        return [one for file in files for one in procs.find_by_word(file)]

    try:
        _until(lambda: len(simulators()) == 2)  # the server, and the job
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert "Traceback" not in said
        _until(lambda: not simulators())
    finally:
        process.kill()
        process.wait()


def _until(condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_threads_at_import_are_served_one_by_one_and_it_is_said(
    labctl: Labctl, designs: Path
) -> None:
    test = designs / "counter/tb/test_counter.py"
    thread = (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    test.write_text(test.read_text() + thread)
    done = labctl("test", "-C", designs, "test_says_a_number", "--seeds", "2", "--json")
    run = data(done)
    assert run["summary"]["passed"] == 4, run
    assert len(run["notes"]) == 1
    assert "2 threads run after the tests were imported" in run["notes"][0]
