"""``labctl lab fault``: what goes wrong on a scripted board."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from labctl.cli.common import AppContext, complete_boards, json_option
from labctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from labctl.vlab.faults import FaultState


@click.command(
    epilog="""\b
Examples:
  labctl lab fault scripted                       how it behaves now
  labctl lab fault scripted noise=0.005           kernel messages in the middle of answers
  labctl lab fault scripted lose_in=0.01 seed=7   one byte in a hundred never arrives
  labctl lab fault scripted reset_after=200       restart after 200 more bytes
  labctl lab fault scripted unplug replug_after=2
  labctl lab fault scripted --clear               as it was started

\b
Every name is described in docs/scripted-board.md.
Exit codes: 0 done, 2 no such fault, value or scripted board, 3 it does not run."""
)
@click.argument("name", metavar="BOARD", shell_complete=complete_boards)
@click.argument("faults", metavar="[NAME=VALUE]...", nargs=-1)
@click.option("--clear", is_flag=True, help="End all faults first.")
@json_option
@click.pass_obj
def fault(app: AppContext, name: str, faults: tuple[str, ...], clear: bool, as_json: bool) -> int:
    """Let things go wrong on the scripted BOARD, or show what does."""
    from labctl.inventory.loader import find_inventory
    from labctl.report.jsondoc import document
    from labctl.vlab import faults as engine
    from labctl.vlab.scripted import control
    from labctl.vlab.scripted.settings import from_words

    if any(word.startswith("=") for word in faults):
        raise UsageError("a value without a name", thing=name, action="write NAME=VALUE")
    values = from_words(faults)
    monitor = engine.monitor(find_inventory(app.inventory), name)
    if clear:
        control.clear(monitor)
    if values:
        control.fault(monitor, **values)
    now = engine.look(monitor)
    if as_json:
        click.echo(document("lab-fault", 1, {"board": name, **asdict(now)}))
    elif not values and not clear:
        _show(now)
    return int(ExitCode.OK)


def _show(now: FaultState) -> None:
    from labctl.report.terminal import Terminal

    armed = {f"{name}_after": left for name, left in now.armed.items()}
    counted = {name: value for name, value in now.stats.items() if value}
    rows = [("fault", name, str(value)) for name, value in {**now.unusual(), **armed}.items()]
    rows += [("counted", name, str(value)) for name, value in counted.items()]
    Terminal().table(("", "NAME", "VALUE"), rows)
