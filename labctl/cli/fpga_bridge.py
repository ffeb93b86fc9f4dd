"""``labctl fpga bridge``: the serial line of a simulated core, as that of a board."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labctl.cli.common import json_option
from labctl.cli.fpga_common import PROJECT, files_are_told, open_project
from labctl.errors import ExitCode, LabctlError, UsageError

if TYPE_CHECKING:
    from types import FrameType

    from labctl.fpga.bridge import Bridge
    from labctl.fpga.bridge_ends import End
    from labctl.fpga.bridge_pump import Traffic


@click.command(
    epilog="""\b
Examples:
  labctl fpga bridge matmul_uart --link /tmp/engine
                                       then: python fpga/matmul_uart/client.py /tmp/engine
  labctl fpga bridge uart --baud 9600  a byte takes as long as on a real line
  labctl fpga bridge uart -p FIFO_ADDR_WIDTH=2 --waves
  line: "exec:labctl fpga bridge uart -C /path/to/fpga --stdio"
                                       as the line of a board in inventory.yaml

\b
Any number of programs may have the terminal open. It ends with Ctrl-C, after
--seconds, or with the simulation; nothing is left of it then but its log.
Exit codes: 0 the time is over or the input ended, 1 the simulation ended or
does not start, 2 bad usage, 4 the link is in use, 130 interrupted."""
)
@click.argument("core")
@PROJECT
@click.option("--pty", is_flag=True, help="On a new pseudo-terminal; so it is if nothing is said.")
@click.option("--link", type=click.Path(), metavar="PATH", help="A name for the pseudo-terminal.")
@click.option("--stdio", is_flag=True, help="On standard input and output, for 'exec:' lines.")
@click.option(
    "--baud", type=click.IntRange(50, 10_000_000), metavar="N",
    help="No faster than a line of N baud.",
)  # fmt: skip
@click.option("--fast", is_flag=True, help="As fast as it goes; so it is if nothing is said.")
@click.option(
    "-p", "--parameter", "parameters", multiple=True, metavar="NAME=VALUE",
    help="A parameter of the core; several times for several.",
)  # fmt: skip
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), metavar="N", help="End after N seconds."
)
@click.option("--waves", is_flag=True, help="Record waves.")
@json_option
def bridge(
    core: str, folder: str, pty: bool, link: str | None, stdio: bool, baud: int | None, fast: bool,
    parameters: tuple[str, ...], seconds: float | None, waves: bool, as_json: bool,
) -> int:  # fmt: skip
    """Simulate CORE, with its serial line on a pseudo-terminal."""
    from labctl.fpga.bridge import Bridge, bridged_core
    from labctl.fpga.bridge_ends import StandardStreams, Terminal
    from labctl.fpga.bridge_pump import Traffic, pump
    from labctl.fpga.store import new_run
    from labctl.fpga.toolchain import find_toolchain

    if stdio and (pty or link or as_json):
        raise UsageError("--stdio leaves no room for --pty, --link and --json", action="drop one")
    if fast and baud:
        raise UsageError("--fast and --baud exclude each other", action="drop one")
    values = dict(_value(one) for one in parameters)
    chosen = bridged_core(open_project(folder), core)
    tools = find_toolchain()
    traffic = Traffic()
    began = time.monotonic()
    with files_are_told(), new_run() as place, _terminable():
        end: End = StandardStreams() if stdio else Terminal(Path(link) if link else None)
        try:
            with Bridge(
                chosen, tools, place, baud=baud or 0, parameters=values, waves=waves
            ) as running:
                if isinstance(end, Terminal):
                    _tell_ready(core, end.device, link, baud, quiet=as_json)
                with contextlib.suppress(KeyboardInterrupt):
                    pump(running.channel, end, seconds, traffic)
                cause = running.why_ended() if traffic.ended == "simulation" else ""
        finally:
            end.close()
    _tell_end(core, running, traffic, time.monotonic() - began, as_json=as_json, quiet=stdio)
    if cause:
        raise LabctlError(cause, thing=core, action=f"see {place}/log.txt")
    return int(ExitCode.OK if traffic.ended else ExitCode.INTERRUPTED)


def _value(text: str) -> tuple[str, int | str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError("this is no parameter", thing=text, action="write NAME=VALUE")
    try:
        return name, int(value, 0)
    except ValueError:
        return name, value


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Make SIGTERM end the block as Ctrl-C does, with all that it has to put away."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell_ready(core: str, device: str, link: str | None, baud: int | None, *, quiet: bool) -> None:
    """Say where the line is; on standard error where a document follows on the other one."""
    where = f"{link} ({device})" if link else device
    pace = f"no faster than {baud} baud" if baud else "as fast as it goes"
    click.echo(f"{core} is on {where}, {pace}; Ctrl-C ends it", err=quiet)
    sys.stdout.flush()


def _tell_end(
    core: str, running: Bridge, traffic: Traffic, seconds: float, *, as_json: bool, quiet: bool
) -> None:
    from labctl.report.jsondoc import document

    if as_json:
        data = {
            "core": core,
            "to_core": traffic.to_core,
            "from_core": traffic.from_core,
            "seconds": round(seconds, 3),
            "ended": traffic.ended or "interrupted",
            "folder": str(running.folder),
            "waves": str(running.waves) if running.waves else None,
        }
        click.echo(document("fpga-bridge", 1, data))
    elif not quiet:
        click.echo(
            f"{traffic.to_core} bytes to the core, {traffic.from_core} from it, {seconds:.1f} s"
            + (f"; waves: {running.waves}" if running.waves else "")
        )
