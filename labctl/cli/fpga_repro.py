"""``labctl fpga repro`` and ``waves``: one run again, exactly, with all there is to see."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labctl.cli.common import json_option
from labctl.cli.fpga_common import (
    PROJECT,
    SIMULATOR,
    colour_of,
    files_are_told,
    open_project,
    repro_command,
)
from labctl.errors import ExitCode

if TYPE_CHECKING:
    from labctl.fpga.model import Project
    from labctl.fpga.results import JobResult


@click.command(
    epilog="""\b
Examples:
  labctl fpga repro uart:test_uart.test_echo@17
  labctl fpga repro -C ~/their-project core:WIDTH=8:test_it.test_all@1

\b
Exit codes: 0 it passes, 1 it fails (again), 2 there is no such run."""
)
@click.argument("name", metavar="RUN")
@PROJECT
@SIMULATOR
@json_option
def repro(name: str, folder: str, simulator: str | None, as_json: bool) -> int:
    """Do RUN again: the same test, parameters and seed, with its log and waves."""
    from labctl.fpga.record import job_data
    from labctl.report.jsondoc import document
    from labctl.report.sanitize import clean
    from labctl.report.terminal import Terminal

    result = _again(name, open_project(folder, simulator))
    if as_json:
        click.echo(
            document("fpga-repro", 1, {"run": job_data(result, repro_command(folder, simulator))})
        )
    else:
        terminal = Terminal()
        if result.folder:
            with (result.folder / "log.txt").open("rb") as log:
                for line in log:
                    terminal.line(clean(line).rstrip("\n"))
        status = terminal.paint(result.status.upper(), colour_of(result.status))
        terminal.line(f"{status} {name}")
        if result.message:
            terminal.line(f"  {clean(result.message)}")
        terminal.line(f"  waves: {result.waves or 'none were recorded'}")
    return int(ExitCode.OK if result.fine else ExitCode.NOT_FINE)


@click.command(
    epilog="""\b
Examples:
  labctl fpga waves uart:test_uart.test_echo@17
  labctl fpga waves uart:test_uart.test_echo@17 --print
  labctl fpga waves uart:test_uart.test_echo@17 --again

\b
What a regression recorded of RUN is shown as long as design and tests are as
they were; otherwise RUN is done again. The viewer shows clock, reset and ports,
what the test complained of, and what changed last, with the cursor at the end.
Exit codes: 0 there are waves, 1 none were recorded, 2 there is no such run, or
no viewer is installed."""
)
@click.argument("name", metavar="RUN")
@PROJECT
@SIMULATOR
@click.option("--open/--no-open", "open_", default=True, help="Start Surfer or GTKWave on it.")
@click.option("--print", "print_", is_flag=True, help="Only print the files: waves, lists.")
@click.option("--again", is_flag=True, help="Do RUN again, whatever was recorded of it: all of it.")
@json_option
def waves(
    name: str, folder: str, simulator: str | None, open_: bool, print_: bool, again: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Open the waves of RUN in a viewer, with the signals that matter first."""
    import subprocess

    from labctl.errors import LabctlError
    from labctl.fpga.selection import find_job
    from labctl.fpga.viewer import viewer
    from labctl.fpga.waves.view import command, prepare
    from labctl.report.jsondoc import document

    shown = open_ and not as_json and not print_
    # Asked for first: nobody should wait for a run that cannot be shown.
    program = viewer() if shown else ""
    project = open_project(folder, simulator)
    core = find_job(project, name).unit.core
    path, message = (None, "") if again else _recorded(name, project)
    if path is None:
        result = _again(name, project)
        path, message = result.waves, result.message
        if path is None:
            raise LabctlError(
                f"no waves were recorded: {message or result.status}",
                thing=name,
                action=f"see {result.folder}/log.txt",
            )
    with files_are_told():
        lists = prepare(path, core, message)
    if as_json:
        files = {
            "waves": str(path),
            "gtkwave": str(lists.gtkwave) if lists else None,
            "surfer": str(lists.surfer) if lists else None,
        }
        click.echo(document("fpga-waves", 1, {"run": name, **files}))
        return int(ExitCode.OK)
    click.echo(path)
    if print_ and lists:
        click.echo(lists.gtkwave)
        click.echo(lists.surfer)
    if shown:
        sys.stdout.flush()
        subprocess.Popen(
            command(program, path, lists),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    return int(ExitCode.OK)


def _recorded(name: str, project: Project) -> tuple[Path | None, str]:
    """Return waves that a regression recorded of a run, if they are of what is there now."""
    from labctl.fpga import record
    from labctl.fpga.selection import find_job

    found = record.kept_waves(project.root, name)
    if found is None:
        return None, ""
    path, told = found
    unit = find_job(project, name).unit
    return (path, told["message"]) if record.is_newer(path, unit.core) else (None, "")


def _again(name: str, project: Project) -> JobResult:
    from labctl.fpga.regression import Options, run
    from labctl.fpga.selection import find_job
    from labctl.fpga.store import new_run
    from labctl.fpga.toolchain import find_toolchain

    job = find_job(project, name)
    tools = find_toolchain(job.unit.core.simulators[:1])
    with files_are_told(), new_run() as place:
        outcome = run([job], tools, place, Options(1, "always", keep=True))
    return outcome.results[0]
