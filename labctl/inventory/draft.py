"""An inventory in the making, written out so that it loads.

Writing a `Draft` out takes away, with a warning each, whatever our own loader would refuse (a
secret, a bad name, a reference that leads nowhere).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from labctl.inventory.compiling import compile_text
from labctl.inventory.diagnostics import InventoryError
from labctl.inventory.yamlnodes import Mapping, Node, Scalar, Sequence, parse

# Taking one mistake away can uncover the next (a group, then references to it).
_ROUNDS = 10


@dataclass
class Draft:
    """An inventory in the making: plain data in the shape of the file, and the warnings."""

    defaults: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def data(self) -> dict[str, Any]:
        """Return the content of the file, empty sections left out."""
        sections = {"defaults": self.defaults, "groups": self.groups}
        return {
            "version": 1,
            **{name: section for name, section in sections.items() if section},
            "hosts": self.hosts,
        }


def write_out(draft: Draft) -> str:
    """Return ``draft`` as the text of an inventory file that loads without a mistake.

    What our loader refuses is taken out of ``draft``, with a warning.

    Raises:
        InventoryError: Something cannot be taken out, which is a defect.
    """
    for _ in range(_ROUNDS):
        text = dump(draft.data())
        try:
            compile_text(text, Path("imported"))
        except InventoryError as error:
            places = _places(text)
            found = [
                (places.get((one.line, one.column), ()), one.message) for one in error.diagnostics
            ]
            # Deepest and last first, so that taking one out does not move the others.
            for path, message in sorted(found, key=lambda one: _sort_key(one[0]), reverse=True):
                if not _remove(draft, path):
                    raise
                draft.warnings.append(f"{_dotted(path)} is left out: {message}")
        else:
            return text
    return text


def dump(data: dict[str, Any]) -> str:
    """Return ``data`` as YAML that our loader reads back as the same values."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, indent=2)


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2 would not read as text; PyYAML itself thinks in YAML 1.1."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = isinstance(Scalar(1, 1, text=text, plain=True).value(), str) and text != "<<"
    style = None if plain else "'"
    if re.search(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd]", text):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)

_Path = tuple[int | str, ...]


def _places(text: str) -> dict[tuple[int, int], _Path]:
    """Return the path in the data for the position of each key and value."""
    root, _ = parse(text)
    return dict(_walk(root, ())) if root else {}


def _walk(node: Node, path: _Path) -> Iterator[tuple[tuple[int, int], _Path]]:
    yield (node.line, node.column), path
    if isinstance(node, Mapping):
        for name, (key, value) in node.entries.items():
            yield from _walk(value, (*path, name))
            yield (key.line, key.column), (*path, name)
    elif isinstance(node, Sequence):
        for number, item in enumerate(node.items):
            yield from _walk(item, (*path, number))


def _sort_key(path: _Path) -> tuple[int, list[tuple[int, str]]]:
    return len(path), [(part, "") if isinstance(part, int) else (-1, part) for part in path]


def _remove(draft: Draft, path: _Path) -> bool:
    """Take the value at ``path`` out of the draft; False for the sections themselves."""
    if len(path) < 2:
        return False
    holder: Any = draft.data()
    for part in path[:-1]:
        try:
            holder = holder[part]
        except (KeyError, IndexError, TypeError):
            return True  # gone already with another mistake
    if isinstance(holder, dict):
        holder.pop(path[-1], None)
    elif isinstance(holder, list) and isinstance(path[-1], int) and path[-1] < len(holder):
        del holder[path[-1]]
    return True


def _dotted(path: _Path) -> str:
    return ".".join(str(part) for part in path)
