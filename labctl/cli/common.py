"""What all command groups share: the inventory, selections, options and the error line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import click

from labctl.errors import LabctlError, UsageError

if TYPE_CHECKING:
    from labctl.inventory.model import Board, Inventory

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class AppContext:
    """What the options before the command name said, for the command to use."""

    inventory: str | None = None
    json: bool = False

    # The context of this process, for the error line of `main` (Click's is gone by then).
    current: ClassVar[AppContext]

    def load_inventory(self) -> Inventory:
        """Find and load the inventory.

        Raises:
            UsageError: There is none, or it has mistakes.
        """
        from labctl.inventory.loader import find_inventory, load_inventory

        return load_inventory(find_inventory(self.inventory))


def json_option(function: F) -> F:
    """Add ``--json``; the command gets ``as_json``, and errors become JSON too."""

    def remember(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
        AppContext.current.json = value
        return value

    return click.option(
        "--json", "as_json", is_flag=True, callback=remember, help="Print one JSON document."
    )(function)


def collector_option(function: F) -> F:
    """Add ``--collector``; the command gets ``collector``, a word of it."""
    return click.option(
        "--collector",
        type=click.Choice(("auto", "sh", "python")),
        default="auto",
        show_default=True,
        help="Who collects on a host: its Python where that says more (auto), always (python), "
        "or the shell alone (sh).",
    )(function)


def complete_hosts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete names and @tags of the inventory; silent when it cannot be read."""
    try:
        parent = ctx.find_root()
        inventory = AppContext(inventory=parent.params.get("inventory")).load_inventory()
    except (LabctlError, OSError):
        return []
    words = sorted(inventory.hosts)
    words += sorted(
        {"@" + word for host in inventory.hosts.values() for word in (*host.tags, *host.groups)}
    )
    return [word for word in words if word.startswith(incomplete)]


def complete_boards(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete names of boards; silent when the inventory cannot be read."""
    try:
        parent = ctx.find_root()
        inventory = AppContext(inventory=parent.params.get("inventory")).load_inventory()
    except (LabctlError, OSError):
        return []
    return [name for name in sorted(inventory.boards) if name.startswith(incomplete)]


def find_board(inventory: Inventory, name: str) -> Board:
    """Return the board ``name``.

    Raises:
        UsageError: There is no such board; names the nearest one.
    """
    from labctl.inventory.selection import select_boards

    if name not in inventory.boards:
        select_boards(inventory, [name])  # its error says what there is
        raise UsageError("name one board", thing=name)
    return inventory.boards[name]


def print_error(error: LabctlError, *, as_json: bool) -> None:
    """Print ``error`` as one line on stderr and, where JSON was asked for, as JSON on stdout."""
    from labctl.report.sanitize import clean

    for line in clean(str(error)).splitlines():
        sys.stderr.write(f"labctl: {line}\n")
    if as_json:
        from labctl.report.jsondoc import document

        details: dict[str, object] = {
            "thing": error.thing,
            "cause": error.cause,
            "action": error.action,
            "exit_code": int(error.exit_code),
        }
        # An inventory names all its mistakes at once.
        mistakes = getattr(error, "diagnostics", None)
        if mistakes is not None:
            details["mistakes"] = [asdict(mistake) for mistake in mistakes]
        sys.stdout.write(document("error", 1, {"error": details}) + "\n")
