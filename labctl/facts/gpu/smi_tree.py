"""What ``nvidia-smi -q`` says, as a tree, whether it came as XML or as text; facts from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from labctl.facts.gpu.card import Card, Process, Slice, make_card, make_slice
from labctl.facts.gpu.fields import (
    FIELDS,
    SLICE_FIELDS,
    THROTTLE_PREFIXES,
    THROTTLE_SECTIONS,
    Field,
)
from labctl.facts.gpu.quantity import first, no_value, read, total
from labctl.facts.value import Fact, Known, Reason, Unknown, absent


@dataclass
class Node:
    """One entry: its name in lower case with underscores, its text, what stands below it."""

    name: str
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def all(self, name: str) -> list[Node]:
        """Return the children called ``name``."""
        return [child for child in self.children if child.name == name]

    def find(self, path: str) -> Node | None:
        """Return the first node at ``path`` (names joined by ``/``), or None."""
        here = self
        for name in path.split("/"):
            child = next((one for one in here.children if one.name == name), None)
            if child is None:
                return None
            here = child
        return here

    def get(self, path: str) -> str | None:
        """Return the text at ``path``, or None where there is none.

        A section that is one word as a whole (``Remapped Rows : N/A``) answers for all in it.
        """
        here = self
        for name in path.split("/"):
            child = next((one for one in here.children if one.name == name), None)
            if child is None:
                whole = here is not self and not here.children and no_value(here.text)
                return here.text if whole and here.text.strip() else None
            here = child
        return here.text


def normal(label: str) -> str:
    """Return a label of the text form as the XML form has it: ``FB Memory Usage`` as a tag."""
    return re.sub(r"[^a-z0-9]+", "_", label.strip().lower()).strip("_")


def _take(node: Node, one: Field) -> Fact[Any]:
    if one.sums:
        return first(total(read(node.get(path), one.kind) for path in group) for group in one.sums)
    return first(read(node.get(path), one.kind) for path in one.tree)


def card_from(node: Node, index: int) -> Card:
    """Return the card that ``node`` (one ``gpu`` of the document) describes."""
    values: dict[str, Any] = {one.name: _take(node, one) for one in FIELDS}
    values["index"] = Known(index)
    values["vendor"] = Known("NVIDIA")
    values["throttle"] = _throttle(node)
    values["slices"] = _slices(node, values["mig"])
    values["processes"] = _processes(node)
    error = node.find("error")
    if error is not None:
        values["error"] = no_value(error.text) or Unknown(Reason.UNREADABLE, error.text.strip())
    elif all(isinstance(values[name], Unknown) for name in _VITAL):
        values["error"] = _broken([values[name] for name in _VITAL])
    return make_card(values)


# A card that answers to none of these does not answer.
_VITAL = ("memory_total", "memory_used", "utilisation", "temperature")


def _broken(facts: list[Unknown]) -> Unknown | None:
    for reason in (Reason.LOST, Reason.TIMED_OUT, Reason.NO_PERMISSION, Reason.UNREADABLE):
        for fact in facts:
            if fact.reason is reason:
                return fact
    return None


def _throttle(node: Node) -> Fact[tuple[str, ...]]:
    for section in THROTTLE_SECTIONS:
        found = node.find(section)
        if found is None:
            continue
        missing = no_value(found.text) if not found.children else None
        if missing is not None:
            return missing
        return Known(tuple(_active(found)))
    return absent("not reported")


def _active(node: Node) -> Iterator[str]:
    for child in node.children:
        if child.text.strip().lower() == "active":
            name = child.name
            for prefix in THROTTLE_PREFIXES:
                name = name.removeprefix(prefix)
            yield _THROTTLE_NAMES.get(name, name)
        yield from _active(child)


# The text form says "Idle" where the XML form has "gpu_idle".
_THROTTLE_NAMES = {"idle": "gpu_idle"}


def _slices(node: Node, mig: Fact[bool]) -> Fact[tuple[Slice, ...]]:
    if not (isinstance(mig, Known) and mig.value):
        return mig if isinstance(mig, Unknown) else absent("MIG is off")
    # In XML they stand in a list, in text below the card itself.
    listed = node.find("mig_devices")
    found = [*node.all("mig_device"), *(listed.all("mig_device") if listed else [])]
    if listed is None and not found:
        return absent("not reported")
    return Known(
        tuple(
            make_slice({one.name: _take(device, one) for one in SLICE_FIELDS}) for device in found
        )
    )


def _processes(node: Node) -> Fact[tuple[Process, ...]]:
    section = node.find("processes")
    if section is None:
        return absent("not reported")
    if not section.children:
        word = section.text.strip()
        if word.lower() in ("", "none"):
            return Known(())
        return no_value(word) or Unknown(Reason.UNREADABLE, word)
    entries = section.all("process_info")
    return Known(tuple(_xml_processes(entries) if entries else _text_processes(section)))


def _xml_processes(entries: list[Node]) -> Iterator[Process]:
    for entry in entries:
        pid = read(entry.get("pid"), "count")
        if isinstance(pid, Known):
            yield Process(
                pid=pid.value,
                name=_raw_name(entry.get("process_name")),
                kind=read(entry.get("type"), "text"),
                memory=read(entry.get("used_memory"), "bytes"),
                gpu_instance=read(entry.get("gpu_instance_id"), "count"),
                compute_instance=read(entry.get("compute_instance_id"), "count"),
            )


def _text_processes(section: Node) -> Iterator[Process]:
    gpu_instance: Fact[int] = absent("not reported")
    compute_instance: Fact[int] = absent("not reported")
    for entry in section.children:
        if entry.name == "gpu_instance_id":
            gpu_instance = read(entry.text, "count")
        elif entry.name == "compute_instance_id":
            compute_instance = read(entry.text, "count")
        elif entry.name == "process_id":
            pid = read(entry.text, "count")
            if isinstance(pid, Known):
                yield Process(
                    pid=pid.value,
                    name=_raw_name(entry.get("name")),
                    kind=read(entry.get("type"), "text"),
                    memory=read(entry.get("used_gpu_memory"), "bytes"),
                    gpu_instance=gpu_instance,
                    compute_instance=compute_instance,
                )


def _raw_name(text: str | None) -> Fact[str]:
    """Return a process name; only the driver's own words for "no name" are none."""
    if text is None:
        return absent("not reported")
    if text.strip() in ("Unknown Error", "[Unknown Error]", "[Not Found]", "N/A", "[N/A]", ""):
        return no_value(text) or absent()
    return Known(text.strip())
