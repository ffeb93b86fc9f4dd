"""What the files of ``labctl board`` share: its arguments, and the board that is attached."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from labctl.cli.common import AppContext, complete_boards, find_board
from labctl.cli.lab_image import progress_lines

if TYPE_CHECKING:
    from labctl.boards.bench import Bench

BOARD = click.argument("name", metavar="BOARD", shell_complete=complete_boards)
WAIT = click.option(
    "--wait", "wait_s", type=click.FloatRange(0, 3600), default=0.0, metavar="SECONDS",
    help="Wait so long for whoever holds the line.",
)  # fmt: skip
ASK_PASS = click.option("--ask-pass", is_flag=True, help="Ask for the login password.")


def open_bench(app: AppContext, name: str, *, ask_pass: bool = False) -> Bench:
    """Attach to the board ``name``; steps that take a while are said on standard error.

    Raises:
        LabctlError: There is no such board, or its line cannot be opened.
    """
    from labctl.boards.bench import Bench

    inventory = app.load_inventory()
    say = progress_lines(True)  # stdout is the board's

    def password() -> str | None:
        return str(click.prompt("Password", hide_input=True, err=True)) if ask_pass else None

    return Bench(
        find_board(inventory, name), inventory.path,
        say=lambda text: say(f"{name}: {text}"), password=password,
        ask=(lambda text: ask_person(f"{name}: {text}")) if on_a_terminal() else None,
    )  # fmt: skip


def ask_person(text: str) -> None:
    """Ask for something to be done, and wait until Enter is pressed.

    Raises:
        click.Abort: There will be no answer: the terminal was closed, or Ctrl-C pressed.
    """
    click.prompt(text, default="", show_default=False, prompt_suffix=": ", err=True)


def on_a_terminal() -> bool:
    """Tell whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()
