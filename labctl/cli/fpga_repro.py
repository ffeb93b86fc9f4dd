"""``labctl fpga repro`` and ``waves``: one run again, exactly, with all there is to see."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from labctl.cli.common import json_option
from labctl.cli.fpga_common import (
    PROJECT,
    SIMULATOR,
    colour_of,
    files_are_told,
    job_data,
    open_project,
    repro_command,
)
from labctl.errors import ExitCode

if TYPE_CHECKING:
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
    from labctl.report.jsondoc import document
    from labctl.report.sanitize import clean
    from labctl.report.terminal import Terminal

    result = _again(name, folder, simulator)
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
  labctl fpga waves uart:test_uart.test_echo@17 --no-open

\b
Exit codes: 0 there are waves, 1 none were recorded, 2 there is no such run, or
no viewer is installed."""
)
@click.argument("name", metavar="RUN")
@PROJECT
@SIMULATOR
@click.option("--open/--no-open", "open_", default=True, help="Start Surfer or GTKWave on it.")
@json_option
def waves(name: str, folder: str, simulator: str | None, open_: bool, as_json: bool) -> int:
    """Record the waves of RUN and open them in a viewer."""
    import os
    import subprocess

    from labctl.errors import LabctlError
    from labctl.fpga.viewer import viewer_command
    from labctl.report.jsondoc import document

    shown = open_ and not as_json
    # Asked for first: nobody should wait for a run that cannot be shown.
    viewer = viewer_command() if shown else []
    result = _again(name, folder, simulator)
    if result.waves is None:
        raise LabctlError(
            f"no waves were recorded: {result.message or result.status}",
            thing=name,
            action=f"see {result.folder}/log.txt",
        )
    if as_json:
        click.echo(document("fpga-waves", 1, {"run": name, "waves": str(result.waves)}))
        return int(ExitCode.OK)
    click.echo(result.waves)
    if shown:
        sys.stdout.flush()
        subprocess.Popen(
            [*viewer, os.fspath(result.waves)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    return int(ExitCode.OK)


def _again(name: str, folder: str, simulator: str | None) -> JobResult:
    from labctl.fpga.regression import Options, run
    from labctl.fpga.selection import find_job
    from labctl.fpga.store import new_run
    from labctl.fpga.toolchain import find_toolchain

    job = find_job(open_project(folder, simulator), name)
    tools = find_toolchain(job.unit.core.simulators[:1])
    with files_are_told(), new_run() as place:
        outcome = run([job], tools, place, Options(1, "always", keep=True))
    return outcome.results[0]
