"""From a board of the inventory to its line: which URL, and which owner."""

from __future__ import annotations

import contextlib
from pathlib import Path

from labctl.boards.client import LineClient
from labctl.boards.owner import start
from labctl.boards.owner.names import identity_of
from labctl.boards.owner.place import OwnerConfig, Place
from labctl.errors import BusyError, UnreachableError, UsageError
from labctl.inventory.model import Board
from labctl.transport.lines.settings import LineSettings


def line_url(board: Board) -> str:
    """Return the URL of the line of ``board``; a port of another host becomes ``ssh:HOST:PORT``.

    Raises:
        UnreachableError: It is a virtual board that does not run.
        UsageError: The inventory names no line.
    """
    if board.line is None:
        if board.virtual:
            raise UnreachableError(
                "the virtual board does not run", thing=board.name,
                action=f"labctl lab up {board.name}",
            )  # fmt: skip
        raise UsageError(
            "the inventory names no line for it", thing=board.name,
            action="write 'line:' ('labctl board discover' prints what is plugged in)",
        )  # fmt: skip
    if board.host and board.line.startswith("/"):
        return f"ssh:{board.host}:{board.line}"
    return board.line


def place_of(board: Board) -> Place:
    """Return the folder of the line of ``board``.

    Raises:
        UnreachableError: It is a virtual board that does not run.
        UsageError: The inventory names no line, or one that is none.
    """
    return Place(identity_of(line_url(board)))


def attach(board: Board, settings: LineSettings, inventory: Path | None) -> LineClient:
    """Attach to the line of ``board``, starting its owner where none runs.

    Args:
        board: Which one.
        settings: How bytes are sent on the line, from the board's model.
        inventory: The inventory file, for a line on another host of it.

    Raises:
        LabctlError: The line cannot be opened; the class and the message say why.
    """
    config = OwnerConfig(
        board=board.name,
        url=line_url(board),
        settings=settings,
        inventory=str(inventory) if inventory else None,
        until=board.folder,
    )
    client = LineClient(place_of(board), config)
    # Whoever has the line now goes on with what it is set to; an owner of an older labctl stays.
    with contextlib.suppress(BusyError, UsageError):
        client.configure(settings)
    return client


def detach(board: Board) -> bool:
    """End the owner of the line of ``board``; return whether one ran."""
    return board.line is not None and start.stop(place_of(board))
