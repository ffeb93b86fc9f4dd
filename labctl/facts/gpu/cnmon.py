"""``cnmon``, the table that Cambricon's tool prints for its MLU cards.

Columns differ between releases, so they are found by the words of the header rows: the words of a
header cell and of the cell below it go together in their order. Proved by a recording: 5.10 with an
MLU370. Not proved: 4.20 and the MLU270, of which none was found.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Any

from labctl.facts.gpu.card import GpuFacts, Process, make_card
from labctl.facts.gpu.quantity import read
from labctl.facts.value import Fact, Known, Reason, Unknown, absent

NAME = "cnmon"

_TITLE = re.compile(r"CNMON\s+v?([\w.]+)(?:.*?Driver\s+v?([\w.]+))?")
# "106 W/ 250 W" and "0 MiB/ 23374 MiB" are one value for their header "Pwr:Usage/Cap".
_PAIR = re.compile(r"(\S+)\s*(mW|W|MiB|GiB|KiB)\s*/\s*(\S+)\s*(mW|W|MiB|GiB|KiB)")
_HEADERS = {
    "card": ("index", "count"),
    "name": ("name", "text"),
    "firmware": ("vbios", "text"),
    "bus-id": ("pci", "pci"),
    "util": ("utilisation", "percent"),
    "fan": ("fan", "percent"),
    "temp": ("temperature", "celsius"),
    "compute-mode": ("compute_mode", "text"),
}
_PAIRS = {
    "pwr:usage/cap": (("power", "watts"), ("power_limit", "watts")),
    "memory-usage": (("memory_used", "bytes"), ("memory_total", "bytes")),
}


def recognises(text: str) -> bool:
    """Tell whether ``text`` is such a table."""
    return "CNMON" in text


def parse(text: str) -> list[GpuFacts]:
    """Return the one reading of the table."""
    title = _TITLE.search(text)
    before, _, after = text.partition("Processes")
    header: list[list[str]] = []
    rows: list[list[str]] = []
    cards: list[dict[str, Any]] = []
    in_header = True
    for line in [*before.splitlines(), "+"]:
        stripped = line.strip()
        if stripped.startswith("|="):
            in_header = False
        elif stripped.startswith("+"):
            if not in_header and rows:
                cards.append(_card(header, rows))
                rows = []
        elif stripped.startswith("|") and "CNMON" not in stripped:
            cells = [cell.strip() for cell in stripped.strip("|").split("|")]
            (header if in_header else rows).append(cells)
    cards = [card for card in cards if card]
    processes = _processes(after)
    for at, card in enumerate(cards):
        index = card.get("index", Known(at))
        card["index"] = index if isinstance(index, Known) else Known(at)
        if processes is not None:
            card["processes"] = Known(tuple(processes.get(card["index"].value, ())))
    said = title.group(2) if title else None
    failure = None if cards else Unknown(Reason.UNREADABLE, "no card in the table")
    return [
        GpuFacts(
            NAME,
            driver=Known(said) if said else absent("not reported"),
            runtime=Known(title.group(1)) if title else absent("not reported"),
            cards=tuple(make_card(card) for card in cards),
            failure=failure,
        )
    ]


def _card(header: list[list[str]], rows: list[list[str]]) -> dict[str, Any]:
    card: dict[str, Any] = {"vendor": Known("Cambricon")}
    # Some releases have a row of headers more than of values.
    for names, values in zip(header, rows, strict=False):
        for words, cell in zip_longest(names, values, fillvalue=""):
            for word, text in _pairs(words.split(), cell):
                key = word.lower()
                if key in _HEADERS:
                    name, kind = _HEADERS[key]
                    card[name] = read(text, kind)
                elif key in _PAIRS:
                    left, _, right = text.partition("/")
                    for (name, kind), part in zip(_PAIRS[key], (left, right), strict=True):
                        card[name] = read(part, kind)
    return card if len(card) > 1 else {}


def _pairs(words: list[str], cell: str) -> list[tuple[str, str]]:
    """Return which words of ``cell`` belong to which word of its header."""
    found = _PAIR.sub(r"\1\2/\3\4", cell).split()
    lower = [word.lower() for word in words]
    if len(found) > len(words) and "name" in lower:  # a name of several words
        at, extra = lower.index("name"), len(found) - len(words)
        found[at : at + extra + 1] = [" ".join(found[at : at + extra + 1])]
    return list(zip(words, found, strict=False)) if len(found) == len(words) else []


def _processes(text: str) -> dict[int, list[Process]] | None:
    """Return the processes of each card, or None where there is no list of them."""
    if not text.strip():
        return None
    found: dict[int, list[Process]] = {}
    listed = False
    columns: list[str] = []
    for line in text.splitlines():
        content = line.strip().strip("|").strip()
        if line.strip().startswith("|="):
            listed = True
        elif "PID" in content.split():
            columns = content.lower().split()
        elif listed and line.strip().startswith("|") and columns:
            _add(found, columns, content)
    return found if listed else None


def _add(found: dict[int, list[Process]], columns: list[str], content: str) -> None:
    words = content.split()
    at = columns.index("pid")
    card = read(words[0], "count") if words else absent()
    pid = read(words[at], "count") if len(words) > at else absent()
    if not isinstance(card, Known) or not isinstance(pid, Known):
        return  # "No running processes found", or a border
    memory = re.search(r"(\d+(?:\.\d+)?\s*[KMGT]?i?B)\s*$", content)
    rest = " ".join(words[at + 1 :])
    name = rest[: -len(" ".join(memory.group(1).split()))].strip() if memory else rest
    used: Fact[int] = read(memory.group(1), "bytes") if memory else absent("not reported")
    found.setdefault(card.value, []).append(
        Process(pid.value, name=Known(name), kind=Known("C"), memory=used)
    )
