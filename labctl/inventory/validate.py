"""Check the tree against the schema and say each mistake at its place in the file."""

from __future__ import annotations

from collections.abc import Sequence as AnySequence
from typing import Any

from pydantic import BaseModel, ValidationError

from labctl.inventory import schema
from labctl.inventory.diagnostics import Diagnostic, did_you_mean, quote
from labctl.inventory.yamlnodes import REPEATED, Mapping, Node, Scalar, Sequence

# pydantic's error type -> what is expected, and an example of it.
_EXPECTED = {
    "string_type": "text; put it in quotes",
    "int_type": "a whole number; write it without quotes, such as 22",
    "bool_type": "true or false",
    "list_type": "a list; write [{}]",
    "dict_type": "a mapping; write 'key: value' lines below it",
    "model_type": "a mapping; write 'key: value' lines below it",
    "model_attributes_type": "a mapping; write 'key: value' lines below it",
}


def validate(root: Node) -> tuple[schema.InventoryFile | None, list[Diagnostic]]:
    """Validate the tree.

    Returns:
        The validated file, or None where there are mistakes; and the mistakes.
    """
    try:
        return schema.InventoryFile.model_validate(root.value()), []
    except ValidationError as error:
        return None, [
            _explain(root, one)
            for one in error.errors(include_url=False, include_context=True)
            if not _about_repeated_key(one)
        ]


def locate(root: Node, path: AnySequence[int | str], *, key: bool = False) -> Node:
    """Return the node at ``path``, or the last one on the way that exists.

    Args:
        root: Where the path begins.
        path: Keys and list indexes.
        key: Return the key of the last step in place of its value.
    """
    node: Node = root
    last_key: Node = root
    for step in path:
        if isinstance(node, Mapping) and str(step) in node.entries:
            last_key, node = node.entries[str(step)]
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            node = last_key = node.items[step]
    return last_key if key else node


def _about_repeated_key(error: Any) -> bool:  # noqa: ANN401 - pydantic_core.ErrorDetails
    """Tell whether the key itself is refused, which only bears our mark; the values count."""
    path = [step for step in error["loc"] if step != "[key]"]
    about_key = error["type"] == "extra_forbidden" or "[key]" in error["loc"]
    return about_key and bool(path) and REPEATED in str(path[-1])


def _explain(root: Node, error: Any) -> Diagnostic:  # noqa: ANN401 - pydantic_core.ErrorDetails
    path, kind, value = list(error["loc"]), error["type"], error["input"]
    name = str(path[-1]).partition(REPEATED)[0] if path else "the file"
    about_key = kind in ("extra_forbidden", "missing") or "[key]" in path
    if "[key]" in path:
        path.remove("[key]")
    node = locate(root, path, key=about_key)
    if kind == "extra_forbidden":
        message = _unknown_key(path)
    elif kind == "missing":
        message = f"{quote(name)} is missing; write '{name}: …'"
    elif kind == "inventory":
        message = error["ctx"]["message"]
    elif kind == "literal_error":
        allowed = error["ctx"]["expected"]
        message = f"{quote(name)} must be {allowed}, not {_kind(value)}; write {allowed}"
    else:
        if path and isinstance(path[-1], int):
            name = f"entry {path[-1] + 1} of {path[-2]}"
        message = _wrong_type(kind, name, value, node, fallback=error["msg"])
    return Diagnostic(node.line, node.column, message)


def _wrong_type(kind: str, name: str, value: object, node: Node, *, fallback: str) -> str:
    expected, _, hint = _EXPECTED.get(kind, fallback).partition("; ")
    hint = hint.replace("{}", _list_example(node))
    if kind == "string_type" and isinstance(value, dict | list | None):
        hint = "write a text"
    elif kind == "bool_type":
        hint = _bool_hint(node)
    message = f"{quote(name)} must be {expected}, not {_kind(value)}"
    return f"{message}; {hint}" if hint else message


def _unknown_key(path: AnySequence[int | str]) -> str:
    name = str(path[-1])
    known = _model_at(path).model_fields
    hint = did_you_mean(name, known) or f"; known here: {', '.join(known)}"
    if len(path) == 1 and name in ("all", "ungrouped", "children"):
        hint = "; an Ansible inventory is read by 'labctl inventory import'"
    return f"unknown key {quote(name)}{hint}"


def _model_at(path: AnySequence[int | str]) -> type[BaseModel]:
    if len(path) == 1:
        return schema.InventoryFile
    return schema.ENTRIES.get(str(path[0]), schema.Settings)


def _kind(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"the value {str(value).lower()}"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    kind = "text" if isinstance(value, str) else "number"
    return f"the {kind} {quote(value)}"


def _list_example(node: Node) -> str:
    text = node.text if isinstance(node, Scalar) else ""
    return text if text and len(text) <= 40 and text.isprintable() else "…"


def _bool_hint(node: Node) -> str:
    text = node.text.lower() if isinstance(node, Scalar) else ""
    known = {"yes": "true", "on": "true", "y": "true", "1": "true", "true": "true"}
    known |= {"no": "false", "off": "false", "n": "false", "0": "false", "false": "false"}
    return f"write {known[text]}" if text in known else "write one of them"
