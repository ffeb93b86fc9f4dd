"""``labctl fpga lint``: what linters say of the cores, in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from labctl.cli.common import json_option
from labctl.cli.fpga_common import PROJECT, cpus, files_are_told, open_project
from labctl.errors import ExitCode

if TYPE_CHECKING:
    from labctl.fpga.lint.finding import Finding


@click.command(
    epilog="""\b
Examples:
  labctl fpga lint
  labctl fpga lint uart --json
  labctl fpga lint -C ~/their-project

\b
Icarus is always asked; Verilator, yosys and Verible where they are installed. What one
of them cannot read is an error, however new the others are: the oldest tool of the
flow is the reference. Waivers stand in core.yaml, below 'lint'.
Exit codes: 0 nothing was found, 1 something was, 2 bad usage or a project with
mistakes."""
)
@click.argument("select", nargs=-1)
@PROJECT
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 1024), metavar="N",
    help="Linters at a time; the number of processors if not given.",
)  # fmt: skip
@json_option
def lint(select: tuple[str, ...], folder: str, jobs: int | None, as_json: bool) -> int:
    """Ask linters about cores: all, or those that SELECT names."""
    from labctl.fpga.choice import choose
    from labctl.fpga.lint import run
    from labctl.fpga.simulators.base import is_vhdl
    from labctl.inventory.diagnostics import shown_path
    from labctl.report.jsondoc import document
    from labctl.report.terminal import Terminal

    project = open_project(folder)
    chosen = choose(project, select)
    programs = run.installed()
    vhdl = [one.core.name for one in chosen if any(map(is_vhdl, one.core.sources))]
    wanted = [
        (one.core, variant)
        for one in chosen
        if one.core.name not in vhdl
        for variant in one.variants
    ]
    with files_are_told():
        reports = run.lint(wanted, programs, jobs or cpus())
    found = [(report.core, one) for report in reports for one in report.findings]
    waived = sum(len(report.waived) for report in reports)
    absent = [one for one in run.LINTERS if one.NAME not in programs]
    if as_json:
        data = {
            "tools": {name: program.version for name, program in programs.items()},
            "absent": [one.NAME for one in absent],
            "vhdl": vhdl,
            "findings": [_data(core.name, one) for core, one in found],
            "waived": [
                {**_data(report.core.name, one), "reason": by.reason}
                for report in reports
                for one, by in report.waived
            ],
            "problems": [
                {"file": str(one.path), "message": one.message} for one in project.problems
            ],
        }
        click.echo(document("fpga-lint", 1, data))
    else:
        terminal = Terminal()
        if found:
            rows = [
                (
                    f"{shown_path(one.path)}:{one.line}" if one.path else core.name,
                    one.severity, f"{one.tool}:{one.rule}", one.message,
                )
                for core, one in found
            ]  # fmt: skip
            styles = ["red" if one.severity == "error" else "" for _, one in found]
            terminal.table(("PLACE", "KIND", "RULE", "MESSAGE"), rows, styles=styles)
        asked = ", ".join(program.version for program in programs.values())
        terminal.line(
            f"{len(found)} found, {waived} waived in {len(reports)} cores; asked: {asked}"
        )
        if vhdl:
            terminal.line(f"not looked at, as they are in VHDL: {', '.join(vhdl)}")
        for one in absent:
            terminal.line(f"not asked: {one.NAME} ({one.INSTALL})")
    if found:
        return int(ExitCode.NOT_FINE)
    return int(ExitCode.USAGE if project.problems else ExitCode.OK)


def _data(core: str, one: Finding) -> dict[str, Any]:
    return {
        "core": core,
        "tool": one.tool,
        "severity": one.severity,
        "rule": one.rule,
        "message": one.message,
        "file": str(one.path) if one.path else None,
        "line": one.line or None,
    }
