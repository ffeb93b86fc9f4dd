"""Captures as nvidia_gpu_exporter collects them: many nvidia-smi outputs of one machine in a file.

Sections begin with a rule of ``#``, a line ``# PHASE :: TITLE``, a line ``# $ COMMAND``, and
another rule. Each phase (``idle``, ``load``) with a report becomes a reading.
Source: https://github.com/utkuozdemir/nvidia_gpu_exporter, internal/captures/README.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

from labctl.facts.gpu import smi_csv, smi_nvlink, smi_text, smi_xml
from labctl.facts.gpu.card import Card, GpuFacts, Slice
from labctl.facts.gpu.quantity import first
from labctl.facts.value import Fact, Known, Reason, Unknown

NAME = "nvidia-smi capture"

_RULE = re.compile(r"#{20,}\s*")
_TITLE = re.compile(r"#\s*(\S.*?)\s*::\s*(.*)")
_LISTED = re.compile(r"\s*MIG\s+(\S+)\s+Device\s+(\d+):\s*\(UUID:\s*(\S+)\)")
_LISTED_CARD = re.compile(r"GPU (\d+): (.*) \(UUID: (\S+)\)")


@dataclass
class Section:
    """One output: the phase it belongs to, its title, the command that printed it, its text."""

    phase: str
    title: str
    command: str
    text: str


def recognises(text: str) -> bool:
    """Tell whether ``text`` is such a capture."""
    return any(True for _ in sections(text))


def sections(text: str) -> Iterator[Section]:
    """Yield the sections of a capture."""
    lines = text.splitlines()
    heads = [
        at
        for at in range(len(lines) - 2)
        if _RULE.fullmatch(lines[at]) and _TITLE.fullmatch(lines[at + 1])
    ]
    for at, following in pairwise([*heads, len(lines)]):
        title = _TITLE.fullmatch(lines[at + 1])
        body = at + 2
        command = ""
        while body < following and not _RULE.fullmatch(lines[body]):
            command = command or lines[body].lstrip("# $")
            body += 1
        if title:
            yield Section(
                title.group(1), title.group(2), command, "\n".join(lines[body + 1 : following])
            )


def parse(text: str) -> list[GpuFacts]:
    """Return a reading for each phase that has a report of the cards."""
    phases: dict[str, list[Section]] = {}
    listed: dict[int, dict[int, tuple[str, str]]] = {}
    links = ""
    for section in sections(text):
        phases.setdefault(section.phase, []).append(section)
        listed.update(_listed(section.text))
        if "nvlink" in section.command.split():
            links += section.text + "\n"
    readings = [
        smi_nvlink.with_links(replace(reading, source=NAME, label=phase), links)
        for phase, found in phases.items()
        if (reading := _phase(found)) is not None
    ]
    named = [
        replace(
            reading,
            cards=tuple(
                _name_slices(card, listed.get(at, {})) for at, card in enumerate(reading.cards)
            ),
        )
        for reading in readings
    ]
    if not named:
        return [GpuFacts(NAME, failure=Unknown(Reason.UNREADABLE, "no report of cards in it"))]
    return named


def _phase(found: list[Section]) -> GpuFacts | None:
    """Return one reading out of all reports of a phase; the fuller one comes first."""
    best: GpuFacts | None = None
    for source in (smi_xml, smi_text, smi_csv):
        for section in found:
            if section.title.startswith("help") or not source.recognises(section.text):
                continue
            for reading in source.parse(section.text):
                if reading.cards:
                    best = reading if best is None else merge(best, reading)
    return best


def merge(one: GpuFacts, other: GpuFacts) -> GpuFacts:
    """Return ``one`` with the facts that only ``other`` knows, card by card."""
    by_pci = {card.pci: card for card in other.cards if isinstance(card.pci, Known)}
    cards = tuple(
        merge_cards(card, by_pci[card.pci]) if card.pci in by_pci else card for card in one.cards
    )
    return replace(one, cards=cards, driver=first((one.driver, other.driver)))


def merge_cards(one: Card, other: Card) -> Card:
    """Return ``one`` with the facts that only ``other`` knows."""
    changes: dict[str, Any] = {}
    for entry in fields(Card):
        if entry.name == "error":
            continue
        fact: Fact[Any] = getattr(one, entry.name)
        if isinstance(fact, Unknown):
            changes[entry.name] = first((fact, getattr(other, entry.name)))
    return replace(one, **changes)


def _listed(text: str) -> dict[int, dict[int, tuple[str, str]]]:
    """Return what ``nvidia-smi -L`` says of MIG devices: card -> index -> (profile, UUID)."""
    found: dict[int, dict[int, tuple[str, str]]] = {}
    card: int | None = None
    for line in text.splitlines():
        head = _LISTED_CARD.match(line)
        if head:
            card = int(head.group(1))
        device = _LISTED.match(line)
        if device and card is not None:
            found.setdefault(card, {})[int(device.group(2))] = (device.group(1), device.group(3))
    return found


def _name_slices(card: Card, listed: dict[int, tuple[str, str]]) -> Card:
    if not isinstance(card.slices, Known) or not listed:
        return card

    def named(part: Slice) -> Slice:
        if not isinstance(part.index, Known) or part.index.value not in listed:
            return part
        profile, uuid = listed[part.index.value]
        return replace(
            part,
            profile=first((part.profile, Known(profile))),
            uuid=first((part.uuid, Known(uuid))),
        )

    return replace(card, slices=Known(tuple(named(part) for part in card.slices.value)))
