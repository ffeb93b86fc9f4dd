"""``nvidia-smi -q``: the full report as indented text."""

from __future__ import annotations

import re

from labctl.facts.gpu.card import GpuFacts
from labctl.facts.gpu.quantity import pci_address, read
from labctl.facts.gpu.smi_tree import Node, card_from, normal
from labctl.facts.value import Known, Reason, Unknown

NAME = "nvidia-smi -q"

_CARD = re.compile(r"GPU ([0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7])\s*(?::\s*(.*))?")


def recognises(text: str) -> bool:
    """Tell whether ``text`` is such a report."""
    return "NVSMI LOG" in text or bool(re.search(r"^Attached GPUs\s+:", text, re.MULTILINE))


def parse(text: str) -> list[GpuFacts]:
    """Return the one reading of a report."""
    head, nodes = _read(text)
    cards = tuple(card_from(node, index) for index, node in enumerate(nodes))
    attached = read(head.get("attached_gpus"), "count")
    notes: tuple[str, ...] = ()
    if isinstance(attached, Known) and attached.value > len(cards):
        notes = (f"{attached.value} cards are attached, the report holds {len(cards)}",)
    failure = None
    if not cards and not isinstance(attached, Known):
        failure = Unknown(Reason.UNREADABLE, "the report names no card")
    return [
        GpuFacts(
            NAME,
            taken=head.get("timestamp") or "",
            driver=read(head.get("driver_version"), "text"),
            runtime=read(head.get("cuda_version"), "text"),
            attached=attached,
            cards=cards,
            failure=failure,
            notes=notes,
        )
    ]


def _read(text: str) -> tuple[Node, list[Node]]:
    """Return what stands before the first card, and a node for each card.

    How deep an entry is indented says where it belongs; by how many blanks does not matter.
    """
    head = Node("head")
    cards: list[Node] = []
    open_nodes: list[tuple[int, Node]] = [(-1, head)]
    for raw in text.splitlines():
        line = raw.expandtabs(8).rstrip()
        content = line.lstrip()
        if not content or content.startswith("="):
            continue
        depth = len(line) - len(content)
        match = _CARD.fullmatch(content) if depth == 0 else None
        if match:
            card = Node("gpu", children=[Node("id", pci_address(match.group(1)))])
            if match.group(2):  # "GPU 00000000:01:00.0 : GPU is lost"
                card.children.append(Node("error", match.group(2)))
            cards.append(card)
            open_nodes = [(0, card)]
            continue
        label, colon, value = content.partition(" : ")
        if not colon and content.endswith(" :"):
            label = content[:-2]
        while len(open_nodes) > 1 and open_nodes[-1][0] >= depth:
            open_nodes.pop()
        node = Node(normal(label), value.strip())
        open_nodes[-1][1].children.append(node)
        open_nodes.append((depth, node))
    return head, cards
