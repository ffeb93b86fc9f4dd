from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labctl.fpga.engines.base import Ended
from labctl.fpga.engines.triage import Hang
from labctl.fpga.model import Core, TestCase, Variant
from labctl.fpga.results import STATUSES, JobResult, read_result
from labctl.fpga.selection import Job, Unit

CASE = """<testcase classname="m" name="{name}" time="0.5">{inner}<properties>
<property name="sim_time_duration" value="120.0"/></properties></testcase>"""
FAILURE = '<failure message="1 != 2&#10;more" type="AssertionError">Traceback\x85</failure>'
JOB = Job(
    Unit(Core("c", Path("c"), "", "t", ()), Variant(), TestCase("m", "a", Path("m.py"), 1)), 4
)


def xml(*inner: str) -> str:
    cases = "".join(CASE.format(name=f"t{at}", inner=one) for at, one in enumerate(inner))
    return f"<testsuites><testsuite>{cases}</testsuite></testsuites>"


def read(
    folder: Path,
    results: str | bytes | None,
    log: str = "",
    code: int = 0,
    hang: Hang | None = None,
) -> JobResult:
    if results is not None:
        raw = results.encode() if isinstance(results, str) else results
        (folder / "results.xml").write_bytes(raw)
    (folder / "log.txt").write_text(log)
    return read_result(JOB, folder, Ended(code, 1.0, hang))


@pytest.mark.parametrize(
    ("inner", "status"),
    [
        (("", ""), "passed"),
        (("", "<skipped/>"), "passed"),
        (("<skipped/>",), "skipped"),
        (("", FAILURE, "<skipped/>"), "failed"),
    ],
)
def test_the_worst_test_counts(tmp_path: Path, inner: tuple[str, ...], status: str) -> None:
    found = read(tmp_path, xml(*inner))
    assert found.status == status
    assert found.sim_ns == 120.0 * len(inner)
    assert len(found.cases) == len(inner)


def test_a_failure_is_one_line_that_says_its_kind(tmp_path: Path) -> None:
    assert read(tmp_path, xml(FAILURE)).message == "AssertionError: 1 != 2 more"


@pytest.mark.parametrize(
    ("results", "log", "code", "words"),
    [
        (None, "", 0, "left no results, and the simulator ended as if all was well"),
        (None, "", -11, "left no results: the simulator was ended by SIGSEGV"),
        (xml("")[:-20], "", 0, "results file is damaged"),
        (xml(), "", 0, "no test was run"),
        (xml(""), "", -6, "its tests passed, and then the simulator was ended by SIGABRT"),
        (
            None,
            'Traceback (most recent call last):\n  File "x"\nModuleNotFoundError: No module\n',
            1,
            "the testbench does not start: ModuleNotFoundError: No module",
        ),
    ],
)
def test_what_is_no_pass(
    tmp_path: Path, results: str | None, log: str, code: int, words: str
) -> None:
    found = read(tmp_path, results, log, code)
    assert found.status == "error"
    assert words in found.message
    assert not found.fine


def test_a_design_that_ends_the_simulation_is_quoted(tmp_path: Path) -> None:
    failure = '<failure message="x: the simulation ended prematurely." type="SimFailure"/>'
    found = read(tmp_path, xml(failure), "FATAL: a.v:3: no\n", 1)
    assert (found.status, found.message) == (
        "failed",
        "the design ended the simulation: FATAL: a.v:3: no",
    )


def test_one_that_was_ended_says_why(tmp_path: Path) -> None:
    found = read(tmp_path, xml(""), hang=Hang("hdl", "it loops"))
    assert (found.status, found.message) == ("hung", "it loops")


def test_a_full_disk_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no space" not in read(tmp_path, xml("")[:-20]).message
    space = SimpleNamespace(f_bavail=3, f_frsize=4096)
    monkeypatch.setattr("labctl.fpga.results.os.statvfs", lambda folder: space)
    found = read(tmp_path, xml("")[:-20], "Traceback (most recent call last):\nStopIteration\n", 1)
    assert (found.status, found.fine) == ("error", False)
    assert "damaged" in found.message
    assert f"no space left on the device of {tmp_path.parent}" in found.message
    # What has its results has them.
    assert read(tmp_path, xml("")).status == "passed"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200) | st.text(alphabet="<>testcase/='\" &;", max_size=60).map(str.encode)
)
def test_any_results_file_gives_a_result(tmp_path: Path, raw: bytes) -> None:
    assert read(tmp_path, raw).status in STATUSES


def test_failures_that_differ_by_numbers_are_of_one_kind() -> None:
    def failed(message: str) -> str:
        return JobResult(JOB, "failed", message).bucket

    assert failed("at 120 ns: 0xAB != 17") == failed("at 7 ns: 0x1 != 2")
    assert failed("q is XX") == failed("q is 0X")
    assert failed("q is wrong") != failed("p is wrong")
