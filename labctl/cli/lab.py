"""``labctl lab``: the virtual lab."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

import click

from labctl.cli.common import AppContext, complete_hosts, json_option
from labctl.cli.lab_fault import fault
from labctl.cli.lab_image import image, progress_lines
from labctl.cli.lab_slurm import slurm
from labctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from labctl.inventory.model import Inventory
    from labctl.vlab.lab import Outcome

Accel = Literal["auto", "kvm", "tcg"]


@click.group(
    epilog="""\b
Examples:
  labctl lab up                start every virtual box and board of the inventory
  labctl lab up box1           start one, and wait until its sshd answers
  labctl lab shell box1        log in
  labctl lab fleet 20          start twenty light boxes (needs root)
  labctl lab down              stop everything

Exit codes: 0 fine, 1 a machine failed, 2 bad usage or missing programs, 4 busy."""
)
def lab() -> None:
    """Start and stop the virtual lab: real Debian systems and boards on this machine."""


def _machines(app: AppContext, words: Sequence[str]) -> tuple[Inventory, list[str], list[str]]:
    """Return the inventory, and the boxes and boards that ``words`` select; no words select all."""
    from labctl.inventory.model import Board, FpgaProject
    from labctl.inventory.selection import select_any

    inventory = app.load_inventory()
    virtual = _virtual(inventory)
    if not words:
        if not any(virtual):
            raise UsageError(
                "it has nothing virtual",
                thing=str(inventory.path),
                action="add a host with 'virtual: box', or a board with 'virtual: true'",
            )
        return inventory, *virtual
    chosen = select_any(inventory, words)
    real = [
        one.name for one in chosen if isinstance(one, FpgaProject) or one.virtual in (None, False)
    ]
    if real:
        raise UsageError(
            "not virtual",
            thing=", ".join(real),
            action=f"the inventory has: {', '.join(virtual[0] + virtual[1]) or 'none'}",
        )
    boards = [one.name for one in chosen if isinstance(one, Board)]
    return inventory, [one.name for one in chosen if one.name not in boards], boards


def _virtual(inventory: Inventory) -> tuple[list[str], list[str]]:
    """Return the names of the virtual boxes and boards."""
    boxes = [host.name for host in inventory.hosts.values() if host.virtual == "box"]
    return boxes, [board.name for board in inventory.boards.values() if board.virtual]


def _report(outcomes: Sequence[Outcome], as_json: bool, command: str) -> int:
    """Print what failed (or, with ``as_json``, everything); return the exit code."""
    from labctl.cli.common import print_error
    from labctl.report.jsondoc import document

    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        assert outcome.error is not None
        print_error(outcome.error, as_json=False)
    if as_json:
        click.echo(document(f"lab-{command}", 1, {"machines": [_plain(one) for one in outcomes]}))
    return int(ExitCode.NOT_FINE if failed else ExitCode.OK)


def _plain(outcome: Outcome) -> dict[str, object]:
    """Return an outcome for JSON; the throw-away password stays out of it."""
    record = outcome.record
    return {
        "name": outcome.name,
        "result": outcome.result,
        "seconds": outcome.seconds,
        "address": (record.address or None) if record else None,
        "port": (record.port or None) if record else None,
        "accel": record.accel if record else None,
        "host_keys": list(record.host_keys) if record else [],
        "error": str(outcome.error) if outcome.error else None,
    }


_SIZE_OPTIONS = (
    click.option("--memory", type=click.IntRange(256), default=1024, help="Memory, MiB.  [1024]"),
    click.option("--cpus", type=click.IntRange(1, 64), default=2, help="Processors.  [2]"),
    click.option(
        "--accel",
        type=click.Choice(["auto", "kvm", "tcg"]),
        default="auto",
        help="How to run it; auto takes KVM where it was seen to run a guest.",
    ),
)


@lab.command(
    epilog="""\b
Examples:
  labctl lab up                    every virtual box and board of the inventory
  labctl lab up arm64              a board: U-Boot and Linux on a serial line
  labctl lab up box1 box2
  labctl lab up box1 --memory 2048 --json

\b
The first start builds the image from Debian's archive (about a minute and a half).
Exit codes: 0 all answer, 1 one failed, 2 bad usage or missing programs."""
)
@click.argument("names", nargs=-1, shell_complete=complete_hosts)
@_SIZE_OPTIONS[0]
@_SIZE_OPTIONS[1]
@_SIZE_OPTIONS[2]
@json_option
@click.pass_obj
def up(
    app: AppContext, names: tuple[str, ...], memory: int, cpus: int, accel: Accel, as_json: bool
) -> int:
    """Start virtual boxes and boards; wait until the boxes' sshd answers."""
    from labctl.vlab import lab as engine
    from labctl.vlab.board_model import read_virtual
    from labctl.vlab.box import BoxOptions

    inventory, boxes, boards = _machines(app, names)
    options = BoxOptions(memory_mib=memory, cpus=cpus, accel=accel)
    say = progress_lines(as_json)
    outcomes = []
    if boards:
        models = {
            name: read_virtual(inventory.boards[name].model, inventory.path) for name in boards
        }
        outcomes += engine.boards_up(
            inventory.path, models, say, lambda name: _switch_on(app, name)
        )
    if boxes:
        outcomes += engine.up(inventory.path, boxes, say, options, _cards(inventory, boxes))
    return _report(outcomes, as_json, "up")


def _cards(inventory: Inventory, boxes: Sequence[str]) -> dict[str, Path]:
    """Return the scenarios of simulated cards by name of the box, where the inventory has one."""
    from labctl.vlab.nvml.on_boxes import find_scenario

    wanted = {name: inventory.hosts[name].gpus for name in boxes}
    folder = inventory.path.absolute().parent
    return {name: find_scenario(gpus, folder) for name, gpus in wanted.items() if gpus}


def _switch_on(app: AppContext, name: str) -> None:
    """Record the line of a board that has just been started, then give it power.

    The virtual lab knows nothing of consoles; here, where both are known, they are put together.
    """
    from labctl.boards.bench import Bench

    inventory = app.load_inventory()  # anew: it holds the line of the running board now
    with Bench(inventory.boards[name], inventory.path) as bench:
        bench.switch("on")


@lab.command(
    epilog="""\b
Examples:
  labctl lab down              everything that this lab runs
  labctl lab down box1 fleet03

\b
Nothing is left: no process, disk, socket or mount, also after a crash.
Exit codes: 0 all gone, 1 one could not be ended."""
)
@click.argument("names", nargs=-1, shell_complete=complete_hosts)
@json_option
@click.pass_obj
def down(app: AppContext, names: tuple[str, ...], as_json: bool) -> int:
    """Stop machines and throw their disks away."""
    from labctl.inventory.loader import find_inventory
    from labctl.vlab import lab as engine

    # Only its place is needed: a lab can be stopped while its inventory has mistakes.
    path = find_inventory(app.inventory)
    outcomes = engine.down(path, names, progress_lines(as_json))
    _end_owners()
    return _report(outcomes, as_json, "down")


def _end_owners() -> None:
    """End the owners of the lines of virtual boards that have gone, without waiting for them."""
    from pathlib import Path

    from labctl.boards.owner import start
    from labctl.boards.owner.place import lines_dir

    for place in start.running(lines_dir()):
        try:
            until = place.read_config().until
        except ValueError:
            continue
        if until is not None and not Path(until).exists():
            start.stop(place)


@lab.command(
    epilog="""\b
Examples:
  labctl lab status
  labctl lab status --json | jq '.machines[] | select(.state == "up")'

\b
States: up, starting, crashed (known, but its process has gone), down.
Exit code: 0."""
)
@json_option
@click.pass_obj
def status(app: AppContext, as_json: bool) -> int:
    """List the lab's machines: state, address, power, console."""
    from labctl.report.jsondoc import document
    from labctl.report.terminal import Terminal
    from labctl.vlab import lab as engine

    inventory = app.load_inventory()
    machines = engine.status(inventory.path, *_virtual(inventory))
    if as_json:
        data = {"inventory": str(inventory.path), "machines": [asdict(one) for one in machines]}
        click.echo(document("lab-status", 1, data))
        return int(ExitCode.OK)
    rows = [
        (one.name, one.kind, one.state, one.pid or "-", one.address or "-",
         _age(one.uptime_s), one.accel or "-", one.power or "-", one.console or "-")
        for one in machines
    ]  # fmt: skip
    header = ("NAME", "KIND", "STATE", "PID", "SSH", "UPTIME", "ACCEL", "POWER", "CONSOLE")
    Terminal().table(header, rows)
    return int(ExitCode.OK)


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@lab.command(
    epilog="""\b
Examples:
  labctl lab reset box1        a new machine again, at the same address
  labctl lab reset arm64       a new board: flash and disk as from the factory

\b
Exit codes: 0 it answers, 1 it failed, 2 the lab runs no such machine."""
)
@click.argument("name", shell_complete=complete_hosts)
@_SIZE_OPTIONS[0]
@_SIZE_OPTIONS[1]
@_SIZE_OPTIONS[2]
@json_option
@click.pass_obj
def reset(app: AppContext, name: str, memory: int, cpus: int, accel: Accel, as_json: bool) -> int:
    """Make the box or board NAME as new; what was done in it is lost."""
    from labctl.inventory.loader import find_inventory
    from labctl.vlab import lab as engine
    from labctl.vlab.box import BoxOptions

    path = find_inventory(app.inventory)
    if engine.is_board(path, name):
        return _report([_reset_board(app, name, progress_lines(as_json))], as_json, "reset")
    options = BoxOptions(memory_mib=memory, cpus=cpus, accel=accel)
    return _report([engine.reset(path, name, progress_lines(as_json), options)], as_json, "reset")


def _reset_board(app: AppContext, name: str, say: Callable[[str], None]) -> Outcome:
    from labctl.vlab import lab as engine
    from labctl.vlab.board_model import read_virtual

    inventory = app.load_inventory()
    if name not in inventory.boards:
        raise UsageError(
            "it runs, but is no longer in the inventory", thing=name,
            action=f"labctl lab down {name}",
        )  # fmt: skip
    model = read_virtual(inventory.boards[name].model, inventory.path)
    return engine.board_reset(inventory.path, name, model, say, lambda name: _switch_on(app, name))


@lab.command(
    epilog="""\b
Examples:
  sudo labctl lab fleet 20         fleet01 to fleet20
  sudo labctl lab fleet 2 --gpus shared   with simulated graphics cards
  labctl setup @fleet --check
  sudo labctl lab down             stop them

\b
A light box has its own files, processes, host name, host key and address, and a real sshd, but
shares the kernel and network of this machine, and has no systemd.
Exit codes: 0 all answer, 1 one failed, 2 not root, bad number or missing programs."""
)
@click.argument("count", type=int, metavar="N")
@click.option("--gpus", metavar="SCENARIO", help="Simulated cards: shared, faults, or a file.")
@json_option
@click.pass_obj
def fleet(app: AppContext, count: int, gpus: str | None, as_json: bool) -> int:
    """Start N light boxes for scale work (needs root)."""
    from pathlib import Path

    from labctl.inventory.loader import find_inventory
    from labctl.vlab import lab as engine
    from labctl.vlab.nvml.on_boxes import find_scenario

    path = find_inventory(app.inventory)
    cards = find_scenario(gpus, Path.cwd()) if gpus else None
    outcomes = engine.fleet_up(path, count, progress_lines(as_json), cards)
    return _report(outcomes, as_json, "fleet")


@lab.command(
    context_settings={"ignore_unknown_options": True},
    epilog="""\b
Examples:
  labctl lab shell box1
  labctl lab shell box1 uname -a
  labctl lab shell --user alice box1
  labctl lab shell --console box1       Ctrl-] leaves

\b
The host key is verified against the one the lab made. Keys are tried first, then the machine's
own random password.
Exit codes: that of the remote command; 3 the machine does not run, 255 ssh failed.""",
)
@click.argument("name", shell_complete=complete_hosts)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("-u", "--user", help="Login user.  [root]")
@click.option("--console", is_flag=True, help="Attach to the serial console instead.")
@click.pass_obj
def shell(
    app: AppContext, name: str, command: tuple[str, ...], user: str | None, console: bool
) -> int:
    """Log in to the machine NAME, or run COMMAND on it."""
    from labctl.inventory.loader import find_inventory
    from labctl.vlab import shell as sessions

    path = find_inventory(app.inventory)
    if console:
        sessions.console(path, name)
        return int(ExitCode.OK)
    return sessions.login(path, name, user=user, command=command)


@lab.command(
    epilog="""\b
Examples:
  labctl lab packages
  sudo apt-get install -y $(labctl lab packages)

\b
Exit code: 0."""
)
@json_option
def packages(as_json: bool) -> int:
    """Print the Debian packages that the virtual lab needs, on one line."""
    from labctl.report.jsondoc import document
    from labctl.vlab.programs import packages as needed

    if as_json:
        click.echo(document("lab-packages", 1, {"packages": needed()}))
    else:
        click.echo(" ".join(needed()))
    return int(ExitCode.OK)


lab.add_command(fault)
lab.add_command(image)
lab.add_command(slurm)
