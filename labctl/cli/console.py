"""``labctl console``: a person at a board's serial line, and what the board said before."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

import click

from labctl.cli.board_common import ask_person, on_a_terminal
from labctl.cli.common import AppContext, complete_boards, find_board, json_option
from labctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from labctl.boards.bench import Bench
    from labctl.boards.terminal import Action

_CONTEXT_BYTES = 2000


class ConsoleGroup(click.Group):
    """A group whose first word is a command of its own, or else a board to open."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve ``BOARD ...`` as ``open BOARD ...``."""
        if args and args[0] not in self.commands:
            return super().resolve_command(ctx, ["open", *args])
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let the options of ``open`` stand before the board too."""
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help"):
            args = ["open", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=ConsoleGroup,
    epilog="""\b
Examples:
  labctl console arm64                  type; Ctrl-] then q leaves, Ctrl-] ? helps
  labctl console --watch arm64          read along, disturb nobody
  labctl console log arm64 --since boot what it said since it was last switched on
  labctl console log arm64 --since 10m --grep 'error|fail'
  labctl console log arm64 --replay     once more, at the pace at which it came

Exit codes: 0 fine, 1 the line failed, 2 bad usage, 3 not reachable, 4 somebody
else holds the line, 130 interrupted.""",
)
def console() -> None:
    """Look at a board's serial console and type, or read what it said (BOARD, or log)."""


@console.command(
    "open",
    epilog="""\b
Examples:
  labctl console arm64              the same as 'labctl console open arm64'
  labctl console --watch arm64 --since boot

\b
Exit codes: 0 left, 2 no terminal, 3 not reachable, 4 the line is held, 130 interrupted.""",
)
@click.argument("name", metavar="BOARD", shell_complete=complete_boards)
@click.option("-w", "--watch", is_flag=True, help="Read only; needs no lease and no terminal.")
@click.option("--plain", is_flag=True, help="Let no colours and cursor movements through.")
@click.option("--since", metavar="WHEN", help="Begin at: boot, an age such as 10m, or a time.")
@click.pass_obj
def open_(app: AppContext, name: str, watch: bool, plain: bool, since: str | None) -> int:
    """Attach to the console of BOARD."""
    from labctl.boards import terminal
    from labctl.boards.bench import Bench
    from labctl.boards.history import offset_since

    def ask(text: str) -> None:
        # The keyboard passes every key on; a person who is asked presses Enter.
        with terminal.cooked_mode(sys.stdin.fileno()):
            ask_person(text)

    inventory = app.load_inventory()
    can_ask = ask if on_a_terminal() and not watch else None
    with Bench(find_board(inventory, name), inventory.path, ask=can_ask) as bench:
        record = bench.line.record
        begin = max(record.begin, record.end - _CONTEXT_BYTES)
        if since:
            begin = offset_since(bench.line.place, since, bench.signs.rom)
        if watch:
            terminal.watch(bench.line, begin, plain=plain, until=lambda: False)
            return int(ExitCode.OK)
        plain = plain or bool(os.environ.get("NO_COLOR"))
        terminal.Console(bench.line, _actions(bench), plain=plain).run(begin)
    return int(ExitCode.OK)


def _actions(bench: Bench) -> dict[str, Action]:
    from labctl.boards.reset import choose

    def switch(action: str, said: str) -> Action:
        def act() -> str:
            bench.switch(action)
            return said

        return act

    def reset() -> str:
        way = choose(None, {k: v for k, v in bench.reset_ways().items() if k != "soft"}, bench.name)
        bench.reset_ways()[way]()  # what it says then is for the person to see
        return f"reset by its {way}"

    return {
        "p": switch("cycle", "switched off and on"),
        "r": reset,
        "o": switch("off", "switched off; Ctrl-] p switches it on"),
    }


@console.command(
    epilog="""\b
Examples:
  labctl console log arm64
  labctl console log arm64 --since boot --times
  labctl console log arm64 --since 2026-01-31T12:00 --json
  labctl console log arm64 --since boot --replay --speed 4

\b
Exit codes: 0 fine, 1 --grep found nothing, 2 bad usage, 3 the board is not there."""
)
@click.argument("name", metavar="BOARD", shell_complete=complete_boards)
@click.option("--since", metavar="WHEN", help="boot, an age such as 10m, or a time.  [all]")
@click.option("--grep", metavar="REGEX", help="Only lines in which this is found.")
@click.option("--times", is_flag=True, help="Show when each line began.")
@click.option("--replay", is_flag=True, help="Show it at the pace at which it came.")
@click.option(
    "--speed", type=click.FloatRange(0.01, 1000), default=1.0, help="Pace of --replay.  [1]"
)
@json_option
@click.pass_obj
def log(
    app: AppContext,
    name: str,
    since: str | None,
    grep: str | None,
    times: bool,
    replay: bool,
    speed: float,
    as_json: bool,
) -> int:
    """Show what BOARD said; nothing is sent to it."""
    import datetime

    from labctl.boards import history
    from labctl.boards.attach import place_of
    from labctl.boards.model import load_model
    from labctl.boards.owner.log import LogReader
    from labctl.report.jsondoc import document
    from labctl.report.sanitize import clean
    from labctl.report.terminal import Terminal
    from labctl.report.terminal_filter import TerminalFilter

    inventory = app.load_inventory()
    board = find_board(inventory, name)
    signs = load_model(board, inventory.path).signs()
    place = place_of(board)
    record = LogReader(place.log)
    begin = history.offset_since(place, since, signs.rom) if since else record.begin
    try:
        pattern = re.compile(grep.encode()) if grep else None
    except re.error as error:
        raise UsageError(f"not a regular expression: {error}", thing="--grep") from None
    if replay:
        narrow = TerminalFilter()
        history.replay(
            record.pieces(begin),
            lambda data: _show_bytes(narrow.feed(data)),
            speed=speed,
        )
        return int(ExitCode.OK)
    found = history.matching(history.lines(record.pieces(begin)), pattern)

    def stamp(line: history.Line) -> str:
        moment = datetime.datetime.fromtimestamp(line.time_ns / 1e9).astimezone()
        return moment.isoformat(timespec="milliseconds")

    if as_json:
        entries = [
            {"time": stamp(one), "offset": one.offset, "text": clean(one.data)} for one in found
        ]
        click.echo(document("console-log", 1, {"board": name, "lines": entries}))
        return int(ExitCode.OK if entries or not grep else ExitCode.NOT_FINE)
    terminal = Terminal()
    count = 0
    for line in found:
        count += 1
        text = clean(line.data).replace("\n", " ")
        terminal.line(f"{stamp(line)}  {text}" if times else text)
    return int(ExitCode.OK if count or not grep else ExitCode.NOT_FINE)


def _show_bytes(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
