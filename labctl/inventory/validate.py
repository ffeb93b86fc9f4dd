"""Check a tree against a schema and say each mistake at its place in the file.

`explain` serves every data file that a person writes: the inventory, and models of boards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence as AnySequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from labctl.inventory import schema
from labctl.inventory.diagnostics import Diagnostic, did_you_mean, quote
from labctl.inventory.yamlnodes import REPEATED, Mapping, Node, Scalar, Sequence

# pydantic's error type -> what is expected, and an example of it.
_EXPECTED = {
    "string_type": "text; put it in quotes",
    "int_type": "a whole number; write it without quotes, such as 22",
    "float_type": "a number; write it without quotes, such as 2.5",
    "bool_type": "true or false",
    "list_type": "a list; write [{}]",
    "dict_type": "a mapping; write 'key: value' lines below it",
    "model_type": "a mapping; write 'key: value' lines below it",
    "model_attributes_type": "a mapping; write 'key: value' lines below it",
}


# Other programs' files that people try, by a key at their top.
_FOREIGN = dict.fromkeys(
    ("all", "ungrouped", "children"),
    "; an Ansible inventory is read by 'labctl inventory import'",
)

Steps = AnySequence[int | str]
# Returns the node at a path, or the key of its last step.
Locate = Callable[[Steps, bool], Node]


def validate(root: Node) -> tuple[schema.InventoryFile | None, list[Diagnostic]]:
    """Validate the tree of an inventory file.

    Returns:
        The validated file, or None where there are mistakes; and the mistakes.
    """
    try:
        return schema.InventoryFile.model_validate(root.value()), []
    except ValidationError as error:
        return None, [one for one, _ in explain(error, schema.InventoryFile, _in(root), _FOREIGN)]


def _in(root: Node) -> Locate:
    return lambda path, key: locate(root, path, key=key)


def explain(
    error: ValidationError,
    model: type[BaseModel],
    find: Locate,
    foreign: AnyMapping[str, str] | None = None,
) -> list[tuple[Diagnostic, list[int | str]]]:
    """Return the mistakes that ``error`` means, each with its path in the data.

    Args:
        error: What pydantic raised.
        model: The model that was validated against, for the keys that are known.
        find: Returns the place of a path in the file.
        foreign: Hints for unknown keys at the top of the file.
    """
    return [
        _explain(one, model, find, foreign or {})
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


def _explain(
    error: Any,  # noqa: ANN401 - pydantic_core.ErrorDetails
    model: type[BaseModel],
    find: Locate,
    foreign: AnyMapping[str, str],
) -> tuple[Diagnostic, list[int | str]]:
    path, kind, value = list(error["loc"]), error["type"], error["input"]
    name = str(path[-1]).partition(REPEATED)[0] if path else "the file"
    about_key = kind in ("extra_forbidden", "missing") or "[key]" in path
    if "[key]" in path:
        path.remove("[key]")
    node = find(path, about_key)
    if kind == "extra_forbidden":
        message = _unknown_key(path, model, foreign)
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
    return Diagnostic(node.line, node.column, message), path


def _wrong_type(kind: str, name: str, value: object, node: Node, *, fallback: str) -> str:
    expected, _, hint = _EXPECTED.get(kind, fallback).partition("; ")
    hint = hint.replace("{}", _list_example(node))
    if kind == "string_type" and isinstance(value, dict | list | None):
        hint = "write a text"
    elif kind == "bool_type":
        hint = _bool_hint(node)
    message = f"{quote(name)} must be {expected}, not {_kind(value)}"
    return f"{message}; {hint}" if hint else message


def _unknown_key(path: Steps, model: type[BaseModel], foreign: AnyMapping[str, str]) -> str:
    name = str(path[-1])
    fields = _model_at(path[:-1], model).model_fields
    known = [one.alias or key for key, one in fields.items()]
    hint = did_you_mean(name, known) or f"; known here: {', '.join(known)}"
    if len(path) == 1:
        hint = foreign.get(name, hint)
    return f"unknown key {quote(name)}{hint}"


def _model_at(path: Steps, model: type[BaseModel]) -> type[BaseModel]:
    """Return the model that describes the mapping at ``path`` below ``model``."""
    forms: list[Any] = [model]
    for step in path:
        following: list[Any] = []
        for form in forms:
            if isinstance(form, type) and issubclass(form, BaseModel):
                if step in form.model_fields:
                    following += _alternatives(form.model_fields[str(step)].annotation)
            elif get_args(form):  # a mapping or a list: the last argument is that of its values
                following += _alternatives(get_args(form)[-1])
        forms = following
    return next(one for one in forms if isinstance(one, type) and issubclass(one, BaseModel))


def _alternatives(annotation: Any) -> Iterable[Any]:  # noqa: ANN401 - a type, or a form of typing
    """Return the forms that a union stands for, or the one that it is."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        return [form for one in get_args(annotation) for form in _alternatives(one)]
    return [annotation]


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
