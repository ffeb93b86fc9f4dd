"""``nvidia-smi -q -x``: the full report as XML, whole, cut short, or with garbage around it."""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape, unescape
from typing import Any
from xml.etree import ElementTree

from labctl.facts.gpu.card import Card, GpuFacts
from labctl.facts.gpu.quantity import read
from labctl.facts.gpu.smi_tree import Node, card_from
from labctl.facts.value import Known, Reason, Unknown

NAME = "nvidia-smi -q -x"

_ROOT = "<nvidia_smi_log"
# XML 1.0, 2.2: other control characters cannot stand in a document, yet a process may have such
# a name, and nvidia-smi prints it as it is.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_PROCESS_NAME = re.compile(r"(?<=<process_name>)(.*?)(?=</process_name>)", re.DOTALL)


def recognises(text: str) -> bool:
    """Tell whether ``text`` holds such a report."""
    return _ROOT in text


def parse(text: str) -> list[GpuFacts]:
    """Return the one reading of a report; what stands before and behind it is not looked at.

    A report that is cut keeps the cards that are whole; of the last one what is missing counts as
    lost.
    """
    start = text.find(_ROOT)
    if start < 0:
        return [GpuFacts(NAME, failure=Unknown(Reason.UNREADABLE, "no report in it"))]
    end = text.find("</nvidia_smi_log>", start)
    body = text[start:] if end < 0 else text[start : end + len("</nvidia_smi_log>")]
    body = _ILLEGAL.sub("\ufffd", body)
    body = _PROCESS_NAME.sub(lambda match: escape(unescape(match.group(1)), quote=False), body)
    root, whole = _read(body)
    cards = [card_from(node, index) for index, node in enumerate(root.all("gpu"))]
    notes: tuple[str, ...] = ()
    if not whole:
        notes = ("the report is cut short or damaged; what is missing is not known",)
        if cards:
            cards[-1] = _rest_lost(cards[-1])
    attached = read(root.get("attached_gpus"), "count")
    if isinstance(attached, Known) and attached.value > len(cards):
        notes += (f"{attached.value} cards are attached, the report holds {len(cards)}",)
    return [
        GpuFacts(
            NAME,
            taken=" ".join((root.get("timestamp") or "").split()),
            driver=read(root.get("driver_version"), "text"),
            runtime=read(root.get("cuda_version"), "text"),
            attached=attached,
            cards=tuple(cards),
            notes=notes,
        )
    ]


def _read(body: str) -> tuple[Node, bool]:
    """Return the document as far as it goes, and whether it is whole."""
    parser: Any = ElementTree.XMLPullParser(events=("start",))
    whole = True
    try:
        # In pieces, so that an error loses no more than what follows it.
        for position in range(0, len(body), 4096):
            parser.feed(body[position : position + 4096])
        parser.close()
    except ElementTree.ParseError:
        whole = False
    root = None
    try:
        for event in parser.read_events():
            root = event[1]
            break
    except ElementTree.ParseError:
        whole = False
    if not isinstance(root, ElementTree.Element):
        return Node("nvidia_smi_log"), False
    return _node(root), whole


def _node(element: ElementTree.Element) -> Node:
    children = [_node(child) for child in element]
    if "id" in element.attrib:
        children.append(Node("id", element.attrib["id"]))
    return Node(element.tag.lower(), element.text or "", children)


def _rest_lost(card: Card) -> Card:
    """Return ``card`` with what is not there as lost, and its processes as not known."""
    lost = Unknown(Reason.LOST, "the report is cut")
    changes: dict[str, Any] = {
        name: lost
        for name, fact in vars(card).items()
        if isinstance(fact, Unknown) and fact.reason is Reason.ABSENT and name != "error"
    }
    return replace(card, **{**changes, "processes": lost})
