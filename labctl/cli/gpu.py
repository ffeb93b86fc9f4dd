"""``labctl gpu``: which card is free, who has the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from labctl.cli.common import AppContext, complete_hosts, json_option
from labctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from labctl.gpu.reading import Reading

EPILOG = """\b
Examples:
  labctl gpu --replay report.xml       a recorded 'nvidia-smi -q -x'
  labctl gpu --replay captures/ --json every recording in a folder, as JSON

Recordings: nvidia-smi -q -x, -q, --query-gpu and --query-compute-apps CSV,
nvidia_gpu_exporter captures, rocm-smi and amd-smi JSON, cnmon, tegrastats,
kernel logs.

Exit codes: 0 shown, whatever the cards' states; 2 bad usage, 3 a host was not
reached, 130 interrupted."""


@click.command(epilog=EPILOG)
@click.argument("hosts", nargs=-1, shell_complete=complete_hosts)
@click.option(
    "--replay",
    is_flag=True,
    help="The arguments are files or folders with recordings, not hosts.",
)
@json_option
@click.pass_obj
def gpu(app: AppContext, /, *, hosts: tuple[str, ...], replay: bool, as_json: bool) -> int:
    """Show the cards of HOSTS: free, busy, idle-held, ghost, booked, sick, unknown."""
    if not replay:
        raise UsageError("nothing to look at", action="labctl gpu --replay FILE...")
    if not hosts:
        raise UsageError("no file given", action="labctl gpu --replay FILE...")
    from labctl.gpu.replay import replay as replay_files

    return _show(replay_files(hosts), as_json=as_json)


def _show(readings: list[Reading], *, as_json: bool) -> int:
    from labctl.gpu import show
    from labctl.report.terminal import Terminal

    lines = show.lines(readings)
    if as_json:
        from labctl.report.jsondoc import document

        click.echo(document("gpu", 1, show.as_data(readings, lines)))
    else:
        terminal = Terminal()
        if lines:
            rows = [show.cells(line) for line in lines]
            styles = [show.COLOURS[line.verdict.state] for line in lines]
            terminal.table(show.HEADER, rows, styles=styles)
        for reading in readings:
            for remark in show.remarks(reading):
                terminal.line(remark)
    unreached = any(reading.error for reading in readings)
    return int(ExitCode.UNREACHABLE if unreached else ExitCode.OK)
