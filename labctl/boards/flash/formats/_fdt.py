"""Flattened device trees: what a FIT and a DTB are written in.

Source: Devicetree Specification v0.4, chapter 5 (header, structure block, strings block).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from labctl.boards.flash.formats._view import View, text

MAGIC = b"\xd0\x0d\xfe\xed"
_BEGIN, _END, _PROPERTY, _NOP, _DONE = 1, 2, 3, 4, 9
# Far beyond any tree there is; a damaged file must not make us build a larger one.
_DEEPEST = 32
_MOST_NODES = 50_000
_MOST_PROPERTIES = 500_000
_LONGEST_NAME = 256


@dataclass
class Node:
    """A node of a tree."""

    properties: dict[str, bytes] = field(default_factory=dict)
    children: dict[str, Node] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Return a property that is text; empty if it is not there."""
        return text(self.properties.get(name, b""), 128)

    def cell(self, name: str) -> int | None:
        """Return a property that is one number; None if it is not there."""
        value = self.properties.get(name, b"")
        return int.from_bytes(value, "big") if len(value) in (4, 8) else None


def total_size(file: View) -> int:
    """Return the size that the header gives, which the file has at least.

    Raises:
        UsageError: The file is shorter.
    """
    size = file.number(4, 4, "header")
    if size < 40:
        raise file.damaged(f"its header says that it has {size} bytes")
    file.take(0, size, "tree")
    return size


def parse(file: View) -> Node:
    """Return the root of the tree.

    Raises:
        UsageError: It is damaged.
    """
    total_size(file)
    at, strings = file.number(8, 4, "header"), file.number(12, 4, "header")
    size, length = file.number(36, 4, "header"), file.number(32, 4, "header")
    if file.number(20, 4, "header") < 17 or file.number(24, 4, "header") > 17:
        raise file.damaged("its version is none that can be read here (17)")
    names = file.take(strings, length, "block of names")
    file.take(at, size, "structure")
    top = Node()
    open_nodes = [top]
    nodes = properties = 0
    end = at + size
    while at + 4 <= end:
        token = file.number(at, 4, "structure")
        at += 4
        if token == _BEGIN:
            stop = file.data.find(b"\0", at, min(end, at + _LONGEST_NAME))
            nodes += 1
            if stop < 0 or len(open_nodes) > _DEEPEST or nodes > _MOST_NODES:
                raise file.damaged("its nodes have no end")
            node = Node()
            open_nodes[-1].children[text(file.data[at:stop], _LONGEST_NAME)] = node
            open_nodes.append(node)
            at = (stop + 4) & ~3
        elif token == _END:
            open_nodes.pop()
            if not open_nodes:
                raise file.damaged("a node ends that never began")
        elif token == _PROPERTY:
            long, name_at = (file.number(at + n, 4, "property") for n in (0, 4))
            stop = names.find(b"\0", name_at)
            properties += 1
            if name_at >= len(names) or stop < 0 or properties > _MOST_PROPERTIES:
                raise file.damaged("a property has no name")
            if at + 8 + long > end:
                raise file.damaged("a property reaches beyond the structure")
            name = text(names[name_at : min(stop, name_at + _LONGEST_NAME)], _LONGEST_NAME)
            open_nodes[-1].properties[name] = file.take(at + 8, long, "property")
            at = (at + 8 + long + 3) & ~3
        elif token == _DONE:
            break
        elif token != _NOP:
            raise file.damaged(f"its structure has {token:#x} at {at - 4:#x}, which means nothing")
    else:
        raise file.damaged("its structure has no end")
    if len(open_nodes) != 1 or "" not in top.children:
        raise file.damaged("its structure ends within a node")
    return top.children[""]
