"""``labctl fpga build``: compile designs for simulation, and say what the compiler says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from labctl.cli.common import json_option
from labctl.cli.fpga_common import PROJECT, SIMULATOR, cpus, files_are_told, open_project
from labctl.errors import ExitCode

if TYPE_CHECKING:
    from labctl.fpga.build import Build, BuildError


@click.command(
    epilog="""\b
Examples:
  labctl fpga build
  labctl fpga build 'fifo:WIDTH=8*' --json

\b
A design that is compiled already is found, with the warnings it had.
Exit codes: 0 all compile, 1 one does not, 2 bad usage or a project with
mistakes."""
)
@click.argument("select", nargs=-1)
@PROJECT
@SIMULATOR
@json_option
def build(select: tuple[str, ...], folder: str, simulator: str | None, as_json: bool) -> int:
    """Compile the designs of all tests, or of those that SELECT names, and show warnings."""
    from concurrent.futures import ThreadPoolExecutor

    from labctl.fpga.build import try_build
    from labctl.fpga.selection import select as choose
    from labctl.fpga.toolchain import find_toolchain
    from labctl.report.jsondoc import document
    from labctl.report.sanitize import clean
    from labctl.report.terminal import Terminal

    project = open_project(folder, simulator)
    units = {(one.core.name, one.variant.name): one for one in choose(project, select)}
    tools = find_toolchain(dict.fromkeys(one.core.simulators[0] for one in units.values()))
    with files_are_told(), ThreadPoolExecutor(cpus()) as pool:
        built = list(pool.map(lambda one: try_build(one.core, one.variant, tools), units.values()))
    rows = [_row(core, variant, done) for (core, variant), done in zip(units, built, strict=True)]
    if as_json:
        click.echo(document("fpga-build", 1, {"builds": rows}))
    else:
        terminal = Terminal()
        terminal.table(
            ("CORE", "PARAMETERS", "STATE", "LINES SAID"),
            [(r["core"], r["variant"] or "-", r["status"], len(r["output"])) for r in rows],
        )
        # Sets of parameters of one core mostly say the same.
        for line in dict.fromkeys(line for row in rows for line in row["output"]):
            terminal.line(clean(line))
    if any(row["status"] == "failed" for row in rows):
        return int(ExitCode.NOT_FINE)
    return int(ExitCode.USAGE if project.problems else ExitCode.OK)


def _row(core: str, variant: str, done: Build | BuildError) -> dict[str, Any]:
    from labctl.fpga.build import Build

    more: dict[str, Any]
    if isinstance(done, Build):
        status, said = ("compiled" if done.fresh else "found"), done.warnings
        more = {"message": "", "simulation": str(done.path)}
    else:
        status, said = "failed", done.log
        more = {"message": done.cause, "simulation": None}
    return {"core": core, "variant": variant, "status": status, "output": said.splitlines(), **more}
