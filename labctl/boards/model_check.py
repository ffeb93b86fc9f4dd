"""A model of a board checked from end to end, with the settings of one board applied.

Imports the validator, which takes a quarter of a second; see `labctl.boards.model` for how that is
paid once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from labctl.boards.schema import BoardFile
from labctl.errors import UsageError
from labctl.inventory.diagnostics import Diagnostic, InventoryError, shown_path
from labctl.inventory.model import Board
from labctl.inventory.validate import Steps, explain, locate
from labctl.inventory.yamlnodes import Mapping as MappingNode
from labctl.inventory.yamlnodes import Node, parse


def check_model(path: Path, text: str, board: Board, inventory: Path | None) -> dict[str, Any]:
    """Return what ``text`` says, with the settings of ``board`` applied and defaults filled in.

    Args:
        path: File of the model.
        text: Its content.
        board: The board; its ``settings`` win over the file, mapping by mapping, and what they
            set to null is as if the file did not say it.
        inventory: The file that the settings are from, to show their place in it.

    Raises:
        InventoryError: The model or the settings have mistakes; carries all of one file.
        UsageError: The settings have mistakes, and are in no file.
    """
    data = _check_file(path, text)
    if not board.settings:
        return data[1]
    merged = merge(data[0], board.settings)
    try:
        return BoardFile.model_validate(merged).model_dump(mode="json")
    except ValidationError as error:
        raise _settings_error(error, board, inventory) from None


def _check_file(path: Path, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the file says, as it is and with defaults filled in."""
    shown = shown_path(path)
    root, found = parse(text, keep_repeated=True)
    if not isinstance(root, MappingNode):
        if root is None and found:
            raise InventoryError(shown, found)
        begin = "begin with 'description: …', and a key of docs/board-models.md on each line"
        raise InventoryError(shown, [*found, Diagnostic(1, 1, f"a model is a mapping; {begin}")])
    said: dict[str, Any] = root.value()
    try:
        checked = BoardFile.model_validate(said)
    except ValidationError as error:
        mistakes = explain(error, BoardFile, lambda steps, key: locate(root, steps, key=key))
        found += [diagnostic for diagnostic, _ in mistakes]
    if found:
        raise InventoryError(shown, found)
    return said, checked.model_dump(mode="json")


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``below`` with ``above`` written over it, mapping by mapping; null takes away."""
    merged = dict(below)
    for key, value in above.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            old = merged.get(key)
            merged[key] = merge(old if isinstance(old, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def _settings_error(
    error: ValidationError, board: Board, inventory: Path | None
) -> InventoryError | UsageError:
    """Return ``error`` with places in the inventory, where the settings are."""
    root = _tree(inventory)
    way = ("boards", board.name, "settings")

    def find(steps: Steps, key: bool) -> Node:
        return locate(root, [*way, *steps], key=key)

    mistakes = [diagnostic for diagnostic, _ in explain(error, BoardFile, find)]
    if isinstance(root, MappingNode) and inventory is not None:
        return InventoryError(shown_path(inventory), mistakes)
    return UsageError(
        "; ".join(dict.fromkeys(one.message for one in mistakes)),
        thing=f"settings of {board.name}",
        action="correct them",
    )


def _tree(path: Path | None) -> Node:
    try:
        root = parse(path.read_text(encoding="utf-8"))[0] if path else None
    except (OSError, UnicodeDecodeError):
        root = None
    return root or Node(1, 1)
