"""What came of a job: its tests, from cocotb's results file, and what happened besides."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from labctl.fpga.engines.base import RESULTS_FILE, Ended, signal_name
from labctl.fpga.engines.watch import LOG_FILE
from labctl.fpga.selection import Job
from labctl.report.sanitize import clean, clean_line

# The worst first; the status of a job is the worst of its tests.
STATUSES = ("error", "hung", "failed", "passed", "skipped")
# Bytes; a file system with less room is as good as full.
_FULL = 64 * 1024
_MAX_RESULTS = 32 * 1024 * 1024
_LOG_TAIL = 64 * 1024
# What differs between failures of the same kind: numbers, addresses, indices, lengths of text.
_NUMBERS = re.compile(r"0x[0-9a-fA-F]+|\b[01xzXZ]{2,}\b|\d+(?:\.\d+)?")
_ENDED_EARLY = "the simulation ended prematurely"


@dataclass(frozen=True)
class Case:
    """One test, as the simulation tells of it.

    Attributes:
        name: ``module.function``, with its arguments where it has some.
        status: One of `STATUSES`.
        message: Why it did not pass, in one line.
        detail: The traceback.
        sim_ns: Simulated time that it took, nanoseconds.
        seconds: Wall-clock time that it took.
    """

    name: str
    status: str
    message: str = ""
    detail: str = ""
    sim_ns: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class JobResult:
    """What came of one job.

    Attributes:
        job: What was run.
        status: One of `STATUSES`.
        message: Why it did not pass, in one line.
        cases: Its tests.
        seconds: Wall-clock time.
        folder: Where its log and results are; None if they were not kept.
        waves: The recorded waves, or None.
        note: What is worth telling about how it was run.
    """

    job: Job
    status: str
    message: str = ""
    cases: tuple[Case, ...] = ()
    seconds: float = 0.0
    folder: Path | None = None
    waves: Path | None = None
    note: str = ""

    @property
    def sim_ns(self) -> float:
        """Simulated time of all its tests, nanoseconds."""
        return sum(case.sim_ns for case in self.cases)

    @property
    def fine(self) -> bool:
        """It passed, or was not to be run."""
        return self.status in ("passed", "skipped")

    @property
    def bucket(self) -> str:
        """Failures of the same kind have the same one: test and message, without the numbers."""
        unit = self.job.unit
        return f"{unit.core.name}:{unit.test.label}: {_NUMBERS.sub('#', self.message)[:200]}"


def read_result(job: Job, folder: Path, ended: Ended) -> JobResult:
    """Return what came of ``job``, from its exit and the files in ``folder``."""
    cases, trouble = read_cases(folder / RESULTS_FILE)
    if ended.hang is not None:
        kind = "error" if ended.hang.kind in ("output", "lost") else "hung"
        return JobResult(job, kind, ended.hang.text, cases, ended.seconds, folder, note=ended.note)
    status, message = _worst(cases), ""
    if not cases:
        status, message = "error", _why_nothing(folder, ended, trouble)
    elif status not in ("passed", "skipped"):
        message = next(case.message for case in cases if case.status == status)
        if _ENDED_EARLY in message:
            message = _early(folder)
    elif ended.exit_code != 0:
        status = "error"
        message = f"its tests passed, and then the simulator {_exit_words(ended.exit_code)}"
    return JobResult(job, status, message, cases, ended.seconds, folder, note=ended.note)


def _worst(cases: Iterable[Case]) -> str:
    return min((case.status for case in cases), key=STATUSES.index, default="error")


def read_cases(path: Path) -> tuple[tuple[Case, ...], str]:
    """Return the tests in the results file ``path``; and why there are none."""
    try:
        if path.stat().st_size > _MAX_RESULTS:
            return (), "its results file is too large"
        # Written by cocotb a moment ago; expat bounds what entities expand to.
        tree = ET.fromstring(path.read_bytes())  # noqa: S314
    except FileNotFoundError:
        return (), "it left no results"
    except (OSError, ET.ParseError) as error:
        return (), f"its results file is damaged: {error}"
    cases = tuple(_case(one) for one in tree.iter("testcase"))
    return cases, "" if cases else "no test was run"


def _case(element: ET.Element) -> Case:
    known = {one.get("name"): one.get("value") or "" for one in element.iter("property")}
    status, message, detail = "passed", "", ""
    for tag, meaning in (("skipped", "skipped"), ("failure", "failed"), ("error", "failed")):
        child = element.find(tag)
        if child is not None:
            status, detail = meaning, clean(child.text or "")
            kind, text = child.get("type") or "", clean_line(child.get("message") or "")
            message = _with_kind(kind, text)
    return Case(
        name=f"{element.get('classname')}.{element.get('name')}",
        status=status,
        message=message,
        detail=detail,
        sim_ns=_number(known.get("sim_time_duration")),
        seconds=_number(element.get("time")),
    )


def _with_kind(kind: str, text: str) -> str:
    """Return a message that says of what kind it is, where its text does not."""
    if kind in ("", "SimFailure"):
        return text
    return f"{kind}: {text}" if text else kind


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _early(folder: Path) -> str:
    """Return why the design ended the simulation."""
    for line in _tail(folder).splitlines():
        if line.startswith(("FATAL:", "ERROR:")):
            return clean_line(f"the design ended the simulation: {line}")
    return "the simulation ended before the test: by $finish, or because nothing was left to happen"


def _why_nothing(folder: Path, ended: Ended, trouble: str) -> str:
    if _is_full(folder):
        # What else is there to see is a consequence.
        return f"{trouble}: no space left on the device of {folder.parent}"
    lines = [line for line in _tail(folder).splitlines() if line.strip()]
    # The last line of a traceback says what; cocotb writes one where it cannot begin.
    for index, line in enumerate(lines):
        if line.startswith("Traceback "):
            found = [one for one in lines[index + 1 :] if re.match(r"[A-Za-z_][\w.]*(:|$)", one)]
            if found:
                return clean_line(f"the testbench does not start: {found[0]}")
    for line in lines:
        if re.match(r"\S+: (Unable|Error|Program not runnable)|ERROR|FATAL", line):
            return clean_line(f"{trouble}: {line}")
    if ended.exit_code != 0:
        return f"{trouble}: the simulator {_exit_words(ended.exit_code)}"
    return f"{trouble}, and the simulator ended as if all was well"


def _is_full(folder: Path) -> bool:
    try:
        space = os.statvfs(folder)
    except OSError:
        return False
    return space.f_bavail * space.f_frsize < _FULL


def _exit_words(code: int) -> str:
    return f"was ended by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"


def _tail(folder: Path) -> str:
    try:
        with (folder / LOG_FILE).open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - _LOG_TAIL))
            return clean(stream.read())
    except OSError:
        return ""
