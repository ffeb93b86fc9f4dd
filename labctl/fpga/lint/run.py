"""Ask all linters that are there about all cores, several at a time."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from labctl.errors import DependencyError
from labctl.fpga.lint.finding import Finding, Linter, Program
from labctl.fpga.lint.linters import icarus, verible, verilator, yosys
from labctl.fpga.lint.waivers import waive
from labctl.fpga.model import Core, Variant, Waiver
from labctl.fpga.programs import run_bounded
from labctl.report.sanitize import clean, clean_line

LINTERS: tuple[Linter, ...] = (icarus, verilator, yosys, verible)
_DEADLINE_S = 120.0


@dataclass(frozen=True)
class Report:
    """What the linters say of one core.

    Attributes:
        core: The core.
        findings: What is left after the waivers, by file and line.
        waived: What was waived, and by what.
    """

    core: Core
    findings: tuple[Finding, ...]
    waived: tuple[tuple[Finding, Waiver], ...]


def installed() -> dict[str, Program]:
    """Return the linters that are there, by name.

    Where several versions of one are installed it is the one that PATH finds first: Debian's, which
    is the older one. What it takes the newer takes, too, and the flow has to be able to read it.

    Raises:
        DependencyError: There is not even Icarus.
    """
    found = {}
    for linter in LINTERS:
        path = shutil.which(linter.PROGRAM)
        if path is not None:
            found[linter.NAME] = Program(path, _version(path, linter.VERSION))
    if icarus.NAME not in found:
        raise DependencyError(
            "Icarus Verilog is not installed", thing=icarus.PROGRAM, action=icarus.INSTALL
        )
    return found


def lint(
    wanted: Sequence[tuple[Core, Variant]], programs: Mapping[str, Program], jobs: int
) -> list[Report]:
    """Return what ``programs`` say of the cores in ``wanted``, one report for each core.

    What is said of several sets of parameters of a core is told once.

    Args:
        wanted: Cores with the sets of parameters to look at.
        programs: As `installed` returns them.
        jobs: How many linters may run at a time.
    """
    questions: list[tuple[Core, Variant, Linter]] = []
    cores: dict[str, Core] = {}
    for core, variant in wanted:
        first = core.name not in cores
        cores[core.name] = core
        questions += [
            (core, variant, one) for one in LINTERS
            if one.NAME in programs and (first or one.PER_VARIANT)
        ]  # fmt: skip
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        answers = list(pool.map(lambda one: _ask(one, programs), questions))
    reports = []
    for core in cores.values():
        said = [
            finding
            for (asked, _, _), answer in zip(questions, answers, strict=True)
            if asked.name == core.name
            for finding in answer
        ]
        left, waived = waive(core, list(dict.fromkeys(said)), programs)
        left.sort(key=lambda one: (str(one.path or ""), one.line, one.tool, one.rule))
        reports.append(Report(core, tuple(left), tuple(waived)))
    return reports


def _ask(question: tuple[Core, Variant, Linter], programs: Mapping[str, Program]) -> list[Finding]:
    core, variant, linter = question
    command = linter.command(core, variant, programs[linter.NAME].path)
    code, output = run_bounded(command, cwd=core.path.parent, deadline_s=_DEADLINE_S)
    text = clean(output)
    found = linter.read(text, core)
    if code is None:
        late = f"it was ended after {_DEADLINE_S:.0f} s"
        return [*found, Finding(linter.NAME, "error", "deadline", late)]
    if code != 0 and not found:
        # It says something in a way that is not known here; that must not be taken for silence.
        line = next((one for one in text.splitlines() if one.strip()), "it failed and said nothing")
        return [Finding(linter.NAME, "error", "error", clean_line(line.strip()))]
    return found


def _version(path: str, arguments: Sequence[str]) -> str:
    import tempfile  # noqa: PLC0415 - slow to import
    from pathlib import Path  # noqa: PLC0415

    _, output = run_bounded([path, *arguments], cwd=Path(tempfile.gettempdir()), deadline_s=30.0)
    lines = clean(output).splitlines()
    return clean_line(lines[0]) if lines else "unknown"
