"""``labctl board reset``: by its power, by DTR and RTS, or by a command, and proved."""

from __future__ import annotations

import click

from labctl.cli.board_common import ASK_PASS, BOARD, WAIT, open_bench
from labctl.cli.common import AppContext, json_option
from labctl.errors import ExitCode, UsageError


@click.command(
    epilog="""\b
Examples:
  labctl board reset arm64              by its power; else by DTR and RTS
  labctl board reset esp --signals      by DTR and RTS, as its model says
  labctl board reset arm64 --soft       by 'reset' of U-Boot or 'reboot' of Linux

\b
Exit codes: 0 it was reset, 1 it failed, or did not show its first words, 2 it has no such
way, 4 the line is held."""
)
@BOARD
@click.option("--signals", is_flag=True, help="By DTR and RTS of its line.")
@click.option("--soft", is_flag=True, help="By a command of the shell that is there.")
@WAIT
@ASK_PASS
@json_option
@click.pass_obj
def reset(
    app: AppContext, name: str, signals: bool, soft: bool, wait_s: float, ask_pass: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Reset BOARD, and see that it begins anew."""
    from dataclasses import asdict

    from labctl.report.jsondoc import document

    if signals and soft:
        raise UsageError("--signals and --soft are two ways; choose one", thing=name)
    way = "signals" if signals else "soft" if soft else None
    with open_bench(app, name, ask_pass=ask_pass) as bench:
        bench.acquire("board reset", wait_s=wait_s)
        result = bench.reset(way)
    if as_json:
        data = {"board": name, **asdict(result), "seconds": round(result.seconds, 3)}
        click.echo(document("board-reset", 1, data))
    elif result.proved:
        click.echo(
            f"{name}: reset ({result.way}); after {result.seconds:.1f} s it said: {result.evidence}"
        )
    else:
        said = f"it said: {result.evidence}" if result.evidence else "it said nothing"
        click.echo(f"{name}: reset ({result.way}); not proved, {said}")
    return int(ExitCode.OK)
