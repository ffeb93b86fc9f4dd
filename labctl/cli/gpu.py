"""``labctl gpu``: which card is free, who has the others."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from labctl.cli.common import AppContext, complete_hosts, json_option
from labctl.errors import ExitCode, LabctlError, UsageError

if TYPE_CHECKING:
    from labctl.gpu.reading import Reading
    from labctl.transport.machines import Machines

EPILOG = """\b
Examples:
  labctl gpu                           hosts with the tag gpu, else this machine
  labctl gpu gpu1 gpu2                 these hosts
  labctl gpu @lab --json               as one JSON document
  labctl gpu --replay report.xml       a recorded 'nvidia-smi -q -x'
  labctl gpu --replay captures/        every recording in a folder

Recordings: nvidia-smi -q -x, -q, --query-gpu and --query-compute-apps CSV,
nvidia_gpu_exporter captures, rocm-smi and amd-smi JSON, cnmon, tegrastats,
kernel logs.

Exit codes: 0 shown, whatever the cards' states, 2 bad usage or inventory,
3 a host was not reached, 130 interrupted."""

TAG = "gpu"


@click.command(epilog=EPILOG)
@click.argument("hosts", nargs=-1, shell_complete=complete_hosts)
@click.option(
    "--replay",
    is_flag=True,
    help="The arguments are files or folders with recordings, not hosts.",
)
@click.option("--accept-new", is_flag=True, help="Accept unknown host keys (a changed one never).")
@click.option(
    "--deadline",
    type=click.FloatRange(1, 600),
    default=40.0,
    metavar="SECONDS",
    show_default=True,
    help="How long one host may take in all.",
)
@json_option
@click.pass_obj
def gpu(
    app: AppContext,
    /,
    *,
    hosts: tuple[str, ...],
    replay: bool,
    accept_new: bool,
    deadline: float,
    as_json: bool,
) -> int:
    """Show the cards of HOSTS: free, busy, idle-held, ghost, booked, sick, unknown."""
    if replay:
        if not hosts:
            raise UsageError("no file given", action="labctl gpu --replay FILE...")
        from labctl.gpu.replay import replay as replay_files

        return _show(replay_files(hosts), as_json=as_json)
    machines = _machines(app, hosts)
    from labctl.gpu.look import look
    from labctl.transport.ssh import Access

    access = Access(decide=lambda name, kind, mark: accept_new, connect_timeout=min(10.0, deadline))
    return _show(look(machines, access=access, deadline=deadline), as_json=as_json)


def _machines(app: AppContext, hosts: Sequence[str]) -> Machines:
    from labctl.transport.machines import LOCAL, choose

    if hosts:
        return choose(hosts, app.load_inventory, verb="gpu")
    try:
        inventory = app.load_inventory()
    except LabctlError:
        # One that was named must be there; one that is found by chance need not.
        if app.inventory:
            raise
        return choose([LOCAL], app.load_inventory, verb="gpu")
    tagged = any(TAG in host.tags for host in inventory.hosts.values())
    return choose([f"@{TAG}" if tagged else LOCAL], lambda: inventory, verb="gpu")


def _show(readings: list[Reading], *, as_json: bool) -> int:
    from labctl.gpu import show
    from labctl.report.terminal import Terminal

    lines = show.lines(readings)
    if as_json:
        from labctl.report.jsondoc import document

        sys.stdout.write(document("gpu", 1, show.as_data(readings, lines)) + "\n")
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
