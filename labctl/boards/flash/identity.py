"""Is this the board that has this name? Asked before the first byte is erased.

Two boards of one model look alike until somebody swaps their cables. So what a board says of itself
is compared with what the inventory says (``identity:``), with what its model is, and with what this
board said the last time it was flashed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from labctl.boards.flash.method import Identity, OtherBoardError
from labctl.boards.model import BoardModel
from labctl.fileio import write_atomic
from labctl.inventory.model import Board
from labctl.paths import make_private, state_dir


class IdentityBook:
    """What a board said of itself the last time.

    Args:
        board: The board.
        inventory: The inventory file; two labs may have boards of one name.
    """

    def __init__(self, board: Board, inventory: Path | None) -> None:
        self._board = board
        key = hashlib.sha256(f"{inventory}\0{board.name}".encode()).hexdigest()[:16]
        self._path = state_dir() / "flash" / "boards" / f"{board.name}-{key}.json"

    def known(self) -> dict[str, str]:
        """Return the facts that no other board shares, as they were; empty the first time."""
        try:
            facts = json.loads(self._path.read_text())
            return {str(name): str(value) for name, value in facts.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def remember(self, identity: Identity, *, new_board: bool = False) -> None:
        """Note who the board is; nothing happens where that cannot be written.

        What another method learned stays known, unless this is a ``new_board``.
        """
        facts = {} if new_board else self.known()
        facts |= {name: identity.facts[name] for name in sorted(identity.unique)}
        try:
            make_private(self._path.parent)
            write_atomic(self._path, json.dumps(facts, indent=1))
        except OSError:
            return

    def check(self, identity: Identity, *, new_board: bool = False) -> None:
        """Refuse a board that is another one.

        Args:
            identity: What it says of itself.
            new_board: It is known to be another one than the last time.

        Raises:
            OtherBoardError: It is not the one that has this name; nothing was changed.
        """
        wanted = {name: str(value) for name, value in self._board.identity.items()}
        self._compare(wanted, identity.facts, "the inventory says", "correct its 'identity:' there")
        if not new_board:
            known = {name: value for name, value in self.known().items() if name not in wanted}
            self._compare(
                known, identity.facts, "the last time it was", "if it was replaced: --new-board"
            )

    def _compare(
        self, wanted: Mapping[str, str], facts: Mapping[str, str], who: str, action: str
    ) -> None:
        for name, value in wanted.items():
            if name in facts and facts[name].lower() != value.lower():
                raise OtherBoardError(
                    f"this is another board: its {name} is {facts[name]}, {who} {value}",
                    thing=self._board.name,
                    action=f"look whether cables were swapped; {action}",
                )
            if name not in facts and who.startswith("the inventory"):
                raise OtherBoardError(
                    f"it does not say its {name}, and {who} that it is {value}",
                    thing=self._board.name, action=action,
                )  # fmt: skip


def check_model(identity: Identity, model: BoardModel, name: str) -> None:
    """Refuse a board of another kind than its model.

    Raises:
        OtherBoardError: Its chip or processor is another one; nothing was changed.
    """
    for word, said, wanted in (
        ("chip", identity.chip, model.data["chip"]),
        ("processor", identity.architecture, model.data["architecture"]),
    ):
        if said and wanted and said != wanted:
            raise OtherBoardError(
                f"its {word} is {said}, and its model '{model.name}' has {wanted}", thing=name,
                action="look whether cables were swapped, or correct its model in the inventory",
            )  # fmt: skip
