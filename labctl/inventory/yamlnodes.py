"""YAML text to a tree of nodes that know their position, within fixed limits.

The tree is built from the parser's events, without recursion, so that no input can exhaust the
stack or the memory: nesting, the number of nodes and what aliases expand to are all bounded.
Plain scalars follow the core schema of YAML 1.2 (``true``/``false``, not ``yes``/``no``; no
dates, no base-60 numbers). Source: YAML 1.2.2, chapter 10.3, https://yaml.org/spec/1.2.2/;
merge keys ``<<``: https://yaml.org/type/merge.html.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from labctl.inventory.diagnostics import Diagnostic, quote
from labctl.inventory.yamlsyntax import explain

MAX_DEPTH = 40
# Nodes after expanding aliases; an inventory of a thousand hosts has some twenty thousand.
MAX_NODES = 100_000

_NULL = re.compile(r"(?:~|null|Null|NULL)?")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_INT = re.compile(r"[-+]?[0-9]{1,30}|0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,30}|[0-9]{1,30}(?:\.[0-9]{0,30})?)(?:[eE][-+]?[0-9]{1,4})?")
# The characters that YAML allows, as in yaml.reader.Reader.NON_PRINTABLE.
_FORBIDDEN = re.compile("[^\x09\x0a\x0d\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Cannot be in a key: NUL is no character of YAML.
REPEATED = "\0"
_CORE = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Node:
    """A value; ``line`` and ``column`` count from 1, ``size`` nodes, ``height`` levels."""

    line: int
    column: int
    size: int = 1
    height: int = 0

    def value(self) -> Any:  # noqa: ANN401 - a YAML value has any type
        """Return the plain Python value: dict, list, str, int, float, bool or None."""
        raise NotImplementedError


@dataclass(slots=True)
class Scalar(Node):
    """A single value; ``plain`` if it was written without quotes."""

    text: str = ""
    plain: bool = False

    def value(self) -> Any:  # noqa: ANN401 - see Node.value
        """Return the value by the YAML 1.2 core schema."""
        text = self.text
        if not self.plain:
            return text
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text[0] in "tT"
        if _INT.fullmatch(text):
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
        return text


@dataclass(slots=True)
class Mapping(Node):
    """Keys (as text) to their key node and value, in file order."""

    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)

    def value(self) -> Any:  # noqa: ANN401 - see Node.value
        """Return a dict."""
        return {key: node.value() for key, (_, node) in self.entries.items()}


@dataclass(slots=True)
class Sequence(Node):
    """A list."""

    items: list[Node] = field(default_factory=list)

    def value(self) -> Any:  # noqa: ANN401 - see Node.value
        """Return a list."""
        return [node.value() for node in self.items]


def parse(
    text: str,
    *,
    keep_repeated: bool = False,
    loader: Any = None,  # noqa: ANN401 - PyYAML's loaders share no typed base
) -> tuple[Node | None, list[Diagnostic]]:
    """Parse one YAML document.

    Args:
        text: The document.
        keep_repeated: Keep the value of a key that is there twice, too, under the key and
            `REPEATED`, so that its own mistakes are found; what repeats a key of the root is
            joined with the first.
        loader: PyYAML loader class; libyaml's where it is there, else the one in Python.

    Returns:
        The root node, or None where the text could not be read to its end; and the mistakes.
    """
    odd = _FORBIDDEN.search(text)
    if odd:
        line = text.count("\n", 0, odd.start()) + 1
        column = odd.start() - text.rfind("\n", 0, odd.start())
        what = f"the control character U+{ord(odd.group()):04X}; remove it"
        return None, [Diagnostic(line, column, what)]
    builder = _Builder(keep_repeated=keep_repeated)
    try:
        for event in yaml.parse(
            text, Loader=loader or getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        ):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        return None, [*builder.diagnostics, explain(error, text)]
    except (ValueError, OverflowError, RecursionError):
        # The parser in Python meets an escape such as "\UFFFFFFFF", or far too many brackets.
        return None, [
            *builder.diagnostics,
            Diagnostic(1, 1, "this is not readable as YAML; write plain mappings and lists"),
        ]
    except _TooMuch as stop:
        return None, [*builder.diagnostics, stop.diagnostic]
    return builder.root, builder.diagnostics


class _TooMuch(Exception):  # noqa: N818 - ends parsing; it is not an error for anybody outside
    def __init__(self, node: Node, message: str) -> None:
        self.diagnostic = Diagnostic(node.line, node.column, message)


@dataclass(slots=True)
class _Frame:
    """A mapping or sequence that is still open."""

    node: Node
    anchor: str | None
    key: Node | None = None
    pairs: list[tuple[Node, Node]] = field(default_factory=list)


class _Builder:
    """Builds the tree from events."""

    def __init__(self, *, keep_repeated: bool) -> None:
        self._keep_repeated = keep_repeated
        self.root: Node | None = None
        self.diagnostics: list[Diagnostic] = []
        self._stack: list[_Frame] = []
        self._anchors: dict[str, Node] = {}
        self._nodes = 0
        self._documents = 0

    def feed(self, event: Any) -> None:  # noqa: ANN401 - PyYAML's events share no typed base
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _TooMuch(
                    Node(line, column), "a second YAML document begins; keep one and remove '---'"
                )
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor or "", Node(line, column))
        elif isinstance(event, yaml.ScalarEvent):
            # libyaml gives a plain scalar the style "", the parser in Python None.
            plain = self._untagged(event, "str") and not event.style
            node = Scalar(line, column, text=event.value, plain=plain)
            self._count(node, 1)
            self._remember(event.anchor, node)
            self._place(node)
        elif isinstance(event, yaml.CollectionStartEvent):
            mapping = isinstance(event, yaml.MappingStartEvent)
            self._untagged(event, "map" if mapping else "seq")
            opened = Mapping(line, column) if mapping else Sequence(line, column)
            self._count(opened, 1)
            if len(self._stack) >= MAX_DEPTH:
                raise _TooMuch(opened, f"nested deeper than {MAX_DEPTH} levels; make it flatter")
            # An anchor that is still open would make the tree contain itself.
            if event.anchor is not None:
                self._anchors.pop(event.anchor, None)
            self._stack.append(_Frame(opened, event.anchor))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()

    def _untagged(self, event: Any, kind: str) -> bool:  # noqa: ANN401 - as in feed
        """Tell whether the event has no tag; complain about one that is not the default."""
        tag = event.tag
        if tag is None:
            return True
        if tag not in ("!", _CORE + kind):
            self._complain(
                Node(event.start_mark.line + 1, event.start_mark.column + 1),
                f"the tag {quote(tag.replace(_CORE, '!!'))} is not allowed; "
                "write the value without a tag",
            )
        return False

    def _complain(self, node: Node, message: str) -> None:
        self.diagnostics.append(Diagnostic(node.line, node.column, message))

    def _count(self, node: Node, size: int) -> None:
        self._nodes += size
        if self._nodes > MAX_NODES:
            raise _TooMuch(
                node,
                f"more than {MAX_NODES} values with all aliases expanded; "
                "split the inventory, or use groups in place of aliases",
            )

    def _remember(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _alias(self, anchor: str, where: Node) -> None:
        node = self._anchors.get(anchor)
        if node is None:
            inside = any(frame.anchor == anchor for frame in self._stack)
            self._complain(
                where,
                f"the alias {quote('*' + anchor)} contains itself; remove it"
                if inside
                else f"the alias {quote('*' + anchor)} has no anchor; "
                f"write {quote('&' + anchor)} before the value it stands for",
            )
            node = Scalar(where.line, where.column, plain=True)
        self._count(where, node.size)
        if len(self._stack) + node.height > MAX_DEPTH:
            raise _TooMuch(where, f"nested deeper than {MAX_DEPTH} levels; make it flatter")
        self._place(node)

    def _place(self, node: Node) -> None:
        if not self._stack:
            self.root = node
            return
        frame = self._stack[-1]
        frame.node.size += node.size
        frame.node.height = max(frame.node.height, node.height + 1)
        if isinstance(frame.node, Sequence):
            frame.node.items.append(node)
        elif frame.key is None:
            frame.key = node
        else:
            frame.pairs.append((frame.key, node))
            frame.key = None

    def _close(self) -> None:
        frame = self._stack.pop()
        if isinstance(frame.node, Mapping):
            self._fill(frame.node, frame.pairs)
        self._remember(frame.anchor, frame.node)
        self._place(frame.node)

    def _fill(self, mapping: Mapping, pairs: list[tuple[Node, Node]]) -> None:
        merges: list[tuple[Scalar, Node]] = []
        for key, node in pairs:
            if not isinstance(key, Scalar):
                self._complain(key, "a mapping or list as a key; write a name as the key")
            elif key.plain and key.text == "<<":
                merges.append((key, node))
            elif key.text in mapping.entries:
                first = mapping.entries[key.text][0]
                self._complain(
                    key,
                    f"the key {quote(key.text)} is there twice (first on line {first.line}); "
                    "keep one of them",
                )
                if self._keep_repeated:
                    self._keep(mapping, key, node)
            else:
                mapping.entries[key.text] = (key, node)
        for key, node in merges:
            self._merge(mapping, key, node)

    def _keep(self, mapping: Mapping, key: Scalar, node: Node) -> None:
        first = mapping.entries[key.text][1]
        if self._stack or not isinstance(first, Mapping) or not isinstance(node, Mapping):
            mapping.entries[f"{key.text}{REPEATED}{key.line}:{key.column}"] = (key, node)
            return
        for name, (inner, value) in node.entries.items():
            taken = f"{name}{REPEATED}{inner.line}:{inner.column}"
            first.entries[taken if name in first.entries else name] = (inner, value)

    def _merge(self, mapping: Mapping, key: Scalar, node: Node) -> None:
        for source in node.items if isinstance(node, Sequence) else [node]:
            if not isinstance(source, Mapping):
                self._complain(key, "'<<' merges mappings only; write '<<: *anchor' of a mapping")
                continue
            for name, entry in source.entries.items():
                mapping.entries.setdefault(name, entry)
