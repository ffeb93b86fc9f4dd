"""``labctl gpu``: which card is free, who has the others."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from labctl.cli.common import AppContext, collector_option, complete_hosts, json_option
from labctl.errors import ExitCode, LabctlError, UsageError

if TYPE_CHECKING:
    from labctl.gpu.choose import Wish
    from labctl.gpu.reading import Reading
    from labctl.gpu.show import Line
    from labctl.transport.machines import Machines
    from labctl.transport.ssh import Access

EPILOG = """\b
Examples:
  labctl gpu                           hosts with the tag gpu, else this machine
  labctl gpu gpu1 gpu2                 these hosts
  labctl gpu --json @lab               as one JSON document
  labctl gpu free --count 2 --memory 40G --same-host
  labctl gpu run --count 2 --memory 20G -- python train.py
  labctl gpu book gpu1:0 --for 4h      announce it to the others
  labctl gpu report --since 7d         who had what
  labctl gpu --replay report.xml       a recorded 'nvidia-smi -q -x'
  labctl gpu --replay captures/        every recording in a folder

Recordings: nvidia-smi -q -x, -q, --query-gpu and --query-compute-apps CSV,
nvidia_gpu_exporter captures, rocm-smi and amd-smi JSON, cnmon, tegrastats,
kernel logs.

Exit codes: 0 shown, whatever the cards' states, 2 bad usage or inventory,
3 a host was not reached, 130 interrupted."""

TAG = "gpu"
F = TypeVar("F", bound=Callable[..., Any])

# command -> (module, attribute); all else after `labctl gpu` are hosts.
_MORE = {
    "run": ("labctl.cli.gpu_run", "run"),
    "book": ("labctl.cli.gpu_book", "book"),
    "release": ("labctl.cli.gpu_book", "release"),
    "bookings": ("labctl.cli.gpu_book", "bookings"),
    "record": ("labctl.cli.gpu_history", "record"),
    "report": ("labctl.cli.gpu_history", "report"),
}


class ShowByDefault(click.Group):
    """A group whose first word may be a host: then it is the command ``show``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of their use."""
        return ["show", "free", "wait", *_MORE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command ``cmd_name``."""
        if cmd_name in _MORE:
            import importlib

            module, attribute = _MORE[cmd_name]
            found: click.Command = getattr(importlib.import_module(module), attribute)
            return found
        return super().get_command(ctx, cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``show`` before what is no command and no question for help."""
        if not (args and (args[0] in self.list_commands(ctx) or args[0] in ("-h", "--help"))):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.command(cls=ShowByDefault, epilog=EPILOG)
def gpu() -> None:
    """Show cards: free, busy, idle-held, ghost, booked, sick, unknown; find, book, report."""


def looking(function: F) -> F:
    """Add the options of every command that looks at hosts."""
    for option in (
        click.option(
            "--deadline",
            type=click.FloatRange(1, 600),
            default=40.0,
            metavar="SECONDS",
            show_default=True,
            help="How long one host may take in all.",
        ),
        click.option(
            "--accept-new", is_flag=True, help="Accept unknown host keys (a changed one never)."
        ),
    ):
        function = option(function)
    return function


def wishing(function: F) -> F:
    """Add the options that say what is wanted; the command gets ``wish``."""
    for option in (
        click.option("--same-host", is_flag=True, help="All on one machine."),
        click.option(
            "--memory", default="0", metavar="SIZE", help="Free memory of each, such as 40G."
        ),
        click.option(
            "--count",
            type=click.IntRange(1, 1000),
            default=1,
            show_default=True,
            help="How many cards.",
        ),
    ):
        function = option(function)
    return function


@gpu.command(epilog=EPILOG)
@click.argument("hosts", nargs=-1, shell_complete=complete_hosts)
@click.option(
    "--replay",
    is_flag=True,
    help="The arguments are files or folders with recordings, not hosts.",
)
@collector_option
@looking
@json_option
@click.pass_obj
def show(
    app: AppContext,
    /,
    *,
    hosts: tuple[str, ...],
    replay: bool,
    collector: str,
    accept_new: bool,
    deadline: float,
    as_json: bool,
) -> int:
    """Show the cards of HOSTS (names, globs, @tag, !exclusion, all; or local)."""
    if replay:
        if not hosts:
            raise UsageError("no file given", action="labctl gpu --replay FILE...")
        from labctl.gpu import show as shown
        from labctl.gpu.replay import replay as replay_files

        readings = replay_files(hosts)
        return _print(readings, shown.lines(readings), "", as_json=as_json)
    readings, lines, remark = look_at(
        app, hosts, accept_new=accept_new, deadline=deadline, collector=collector
    )
    return _print(readings, lines, remark, as_json=as_json)


@gpu.command(
    epilog="""\b
Examples:
  labctl gpu free                          one free card, the smallest that there is
  labctl gpu free --count 2 --memory 40G --same-host
  labctl gpu free @lab --json

Prints HOST GPU UUID MODEL, a line each. Your own bookings count as free.

Exit codes: 0 printed, 1 it cannot be had now, 2 bad usage, 3 it cannot be had
and a host was not reached."""
)
@click.argument("hosts", nargs=-1, shell_complete=complete_hosts)
@wishing
@looking
@json_option
@click.pass_obj
def free(
    app: AppContext,
    /,
    *,
    hosts: tuple[str, ...],
    count: int,
    memory: str,
    same_host: bool,
    accept_new: bool,
    deadline: float,
    as_json: bool,
) -> int:
    """Print free cards of HOSTS that fit, or exit with 1."""
    from labctl.cli.gpu_waiting import NONE_FREE, hindrances, tell
    from labctl.gpu.choose import pick

    wish = make_wish(count, memory, same_host)
    readings, lines, remark = look_at(app, hosts, accept_new=accept_new, deadline=deadline)
    if remark:
        sys.stderr.write(f"labctl: {remark}\n")
    found = pick(lines, wish)
    print_found(found, as_json=as_json)
    if found is not None:
        return int(ExitCode.OK)
    tell([NONE_FREE, *hindrances(readings)])
    unreached = any(reading.error for reading in readings)
    return int(ExitCode.UNREACHABLE if unreached else ExitCode.NOT_FINE)


@gpu.command(
    epilog="""\b
Examples:
  labctl gpu wait --memory 40G             until one is free; prints it as 'free' does
  labctl gpu wait --count 4 --same-host --timeout 8h

Exit codes: 0 printed, 1 not within the timeout, 2 bad usage, 130 interrupted."""
)
@click.argument("hosts", nargs=-1, shell_complete=complete_hosts)
@wishing
@click.option("--timeout", default="1d", show_default=True, metavar="SPAN", help="90m, 4h, 2d.")
@click.option(
    "--every", default="15s", show_default=True, metavar="SPAN", help="How often to look."
)
@looking
@json_option
@click.pass_obj
def wait(
    app: AppContext,
    /,
    *,
    hosts: tuple[str, ...],
    count: int,
    memory: str,
    same_host: bool,
    timeout: str,
    every: str,
    accept_new: bool,
    deadline: float,
    as_json: bool,
) -> int:
    """Wait until cards of HOSTS that fit are free, and print them."""
    from labctl.cli.gpu_waiting import Waiting
    from labctl.gpu.bookings import span
    from labctl.gpu.choose import pick

    wish = make_wish(count, memory, same_host)
    end, pause = time.monotonic() + span(timeout), max(1, span(every))
    waiting = Waiting()
    while True:
        readings, lines, _ = look_at(app, hosts, accept_new=accept_new, deadline=deadline)
        found = pick(lines, wish)
        left = end - time.monotonic()
        if found is not None or left <= 0:
            print_found(found, as_json=as_json)
            return int(ExitCode.OK if found is not None else ExitCode.NOT_FINE)
        waiting.tell(readings)
        time.sleep(min(pause, left))


def make_wish(count: int, memory: str, same_host: bool) -> Wish:
    """Return the wish that the options of `wishing` say."""
    from labctl.gpu.bookings import me
    from labctl.gpu.choose import Wish, size

    return Wish(count, size(memory), same_host, me())


def look_at(
    app: AppContext,
    hosts: Sequence[str],
    *,
    accept_new: bool,
    deadline: float,
    collector: str = "auto",
) -> tuple[list[Reading], list[Line], str]:
    """Look at ``hosts``; return readings, lines, and a remark on history and bookings."""
    # What finds and reaches other machines is slow to import, and not needed for this one alone.
    here = collector != "sh"
    readings = _here(deadline) if here and tuple(hosts) == ("local",) else []
    if not readings:
        machines = machines_of(app, hosts)
        readings = _here(deadline) if here and not machines.hosts and not hosts else []
    if not readings:
        from labctl.facts.sent.bundle import Collector
        from labctl.gpu.look import look

        access = access_of(accept_new, deadline)
        readings = look(machines, access=access, deadline=deadline, collector=Collector(collector))
    from labctl.gpu.judged import judged

    lines, remark = judged(readings)
    return readings, lines, remark


def access_of(accept_new: bool, deadline: float = 40.0) -> Access:
    """Return how hosts are reached: nobody is asked for a password, new keys as the option says."""
    from labctl.transport.ssh import Access

    return Access(decide=lambda name, kind, mark: accept_new, connect_timeout=min(10.0, deadline))


def _here(deadline: float) -> list[Reading]:
    from labctl.gpu.local import look_here

    found = look_here(deadline=deadline)
    return [found] if found is not None else []


def machines_of(app: AppContext, hosts: Sequence[str]) -> Machines:
    """Return the machines that ``hosts`` name; without any those with the tag, or this one."""
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


def _print(readings: list[Reading], lines: list[Line], remark: str, *, as_json: bool) -> int:
    from labctl.gpu import show as shown
    from labctl.report.terminal import Terminal

    if as_json:
        from labctl.report.jsondoc import document

        data = {**shown.as_data(readings, lines), "remark": remark}
        sys.stdout.write(document("gpu", 1, data) + "\n")
    else:
        terminal = Terminal()
        if lines:
            rows = [shown.cells(line) for line in lines]
            styles = [shown.COLOURS[line.verdict.state] for line in lines]
            terminal.table(shown.HEADER, rows, styles=styles)
        for reading in readings:
            for text in shown.remarks(reading):
                terminal.line(text)
        if remark:
            terminal.line(remark)
    unreached = any(reading.error for reading in readings)
    return int(ExitCode.UNREACHABLE if unreached else ExitCode.OK)


def print_found(found: list[Line] | None, *, as_json: bool) -> None:
    """Print what was found, a line each; nothing where nothing was."""
    from labctl.facts.value import Known
    from labctl.report.jsondoc import document
    from labctl.report.sanitize import clean_line

    entries = [
        {
            "host": line.reading.host,
            "unit": line.unit.name,
            "uuid": line.unit.uuid.value if isinstance(line.unit.uuid, Known) else None,
            "model": line.unit.model,
        }
        for line in found or []
    ]
    if as_json:
        data = {"found": found is not None, "units": entries}
        sys.stdout.write(document("gpu-free", 1, data) + "\n")
        return
    for entry in entries:
        words = (entry["host"], entry["unit"], entry["uuid"] or "-", entry["model"])
        sys.stdout.write(clean_line(" ".join(str(word) for word in words)) + "\n")
