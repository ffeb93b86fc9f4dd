"""``nvidia-smi nvlink -s`` and ``-e``: the state of each NVLink and its counters of errors.

``nvidia-smi -q`` tells nothing of them. Lines as seen on drivers 440 to 595: ``Link 3: 26.562
GB/s``, ``Link 3: <inactive>``, ``Link 3: Replay Errors: 0``, ``Links 0-2, 4-5: Replay/Recovery/CRC
Errors: 0``, and sentences where there is nothing to list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from labctl.facts.gpu.card import Card, GpuFacts, Link, link_facts
from labctl.facts.gpu.quantity import no_value
from labctl.facts.value import Fact, Known, Reason, Unknown, absent, unreadable

_CARD = re.compile(r"GPU\s+(\d+):\s*(.*)")
_UUID = re.compile(r"\(UUID:\s*([^\s)]+)\)")
_LINK = re.compile(r"Links?\s+(\d[\d\s,-]*):\s*(.*)")
_SPEED = re.compile(r"(\d+(?:\.\d+)?)\s*GB/s")
_COUNTER = re.compile(r"([A-Za-z/ ]+?)\s+Errors?:\s*(\S.*)")
_COUNTERS = {"replay": "replays", "recovery": "recoveries", "crc": "crc"}
# More links than any card has (NVML_NVLINK_MAX_LINKS is 36): a number beyond is damage.
_MOST_LINKS = 256

_NONE_UP = re.compile(r"all links are inactive", re.IGNORECASE)
_NO_LINKS = re.compile(r"does not have or support nvlink|nvlink.*not supported", re.IGNORECASE)


@dataclass
class _Said:
    uuid: str = ""
    links: dict[int, Link] = field(default_factory=dict)
    sentence: str = ""


def parse(text: str) -> dict[int, dict[str, Any]]:
    """Return the facts by index of the card and field name of `Card`."""
    return {index: _facts(said) for index, said in _read(text).items()}


def with_links(facts: GpuFacts, text: str) -> GpuFacts:
    """Return ``facts`` with what ``text`` says of the links of its cards."""
    read = _read(text)
    by_uuid = {said.uuid: said for said in read.values() if said.uuid}

    def joined(card: Card) -> Card:
        said = by_uuid.get(card.uuid.value) if isinstance(card.uuid, Known) else None
        if said is None and isinstance(card.index, Known):
            said = read.get(card.index.value)
        return card if said is None else replace(card, **_facts(said))

    return replace(facts, cards=tuple(joined(card) for card in facts.cards))


def _read(text: str) -> dict[int, _Said]:
    found: dict[int, _Said] = {}
    said: _Said | None = None
    for raw in text.splitlines():
        line = raw.strip()
        head = _CARD.match(line)
        if head:
            said = found.setdefault(int(head.group(1)), _Said())
            uuid = _UUID.search(line)
            if uuid:
                said.uuid = uuid.group(1)
                line = line[uuid.end() :].strip()
            else:
                line = ""
        if said is None or not line:
            continue
        link = _LINK.match(line)
        if link:
            for number in _numbers(link.group(1)):
                before = said.links.get(number, Link(number))
                said.links[number] = _with_line(before, link.group(2).strip())
        else:
            said.sentence = said.sentence or line
    return found


def _numbers(text: str) -> Iterator[int]:
    for part in text.replace(" ", "").split(","):
        low, _, high = part.partition("-")
        if low.isdecimal() and (not high or high.isdecimal()):
            first, last = int(low), int(high or low)
            if first <= last < _MOST_LINKS:
                yield from range(first, last + 1)


def _with_line(link: Link, words: str) -> Link:
    """Return ``link`` with what one line says of it; lines about something else change nothing."""
    if "inactive" in words.lower():
        return replace(link, active=Known(False))
    speed = _SPEED.fullmatch(words)
    if speed:
        return replace(link, active=Known(True), speed=Known(float(speed.group(1))))
    counter = _COUNTER.fullmatch(words)
    if counter:
        count: Fact[int] = no_value(counter.group(2)) or unreadable(counter.group(2))
        if counter.group(2).isdecimal():
            count = Known(int(counter.group(2)))
        names = [_COUNTERS.get(one.strip().lower()) for one in counter.group(1).split("/")]
        changes: dict[str, Any] = {name: count for name in names if name}
        return replace(link, **changes)
    if ":" in words or isinstance(link.active, Known):
        return link
    return replace(link, active=no_value(words) or unreadable(words))


def _facts(said: _Said) -> dict[str, Any]:
    if said.links:
        return link_facts(Known(tuple(said.links[number] for number in sorted(said.links))))
    if _NONE_UP.search(said.sentence):
        none_up = Unknown(Reason.ABSENT, "all links are inactive")
        return {**link_facts(none_up), "links_active": Known(0)}
    if _NO_LINKS.search(said.sentence):
        return link_facts(Unknown(Reason.NOT_SUPPORTED, said.sentence))
    return link_facts(unreadable(said.sentence) if said.sentence else absent("not reported"))
