"""``nvidia-smi --query-gpu=... --format=csv`` and ``--query-compute-apps``: tables by column name.

nvidia-smi quotes nothing, so a process name may hold commas; they are put back where the columns
around it allow only one reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from labctl.facts.gpu.card import Card, GpuFacts, Process, make_card
from labctl.facts.gpu.fields import FIELDS, Field
from labctl.facts.gpu.quantity import first, no_value, read, total
from labctl.facts.value import Fact, Known, Reason, Unknown, absent

NAME = "nvidia-smi --query"

_COLUMN = re.compile(r"([a-zA-Z_][\w.]*)(?: \[([^\]]+)\])?")
_KNOWN_COLUMNS = {
    *(column for one in FIELDS for column in one.columns),
    *(column for one in FIELDS for group in one.column_sums for column in group),
    "index", "count", "timestamp", "driver_version", "pid", "process_name", "used_gpu_memory",
    "used_memory",
}  # fmt: skip
# Of a header; a line of data may by chance look like one name.
_FEWEST_COLUMNS = 2


@dataclass
class Table:
    """One table: the names and units of its columns, and its rows."""

    columns: list[str]
    units: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def dicts(self) -> Iterator[dict[str, tuple[str, str]]]:
        """Yield each row as column name -> (text, unit of the column)."""
        for row in self.rows:
            yield {
                name: (cell, unit)
                for name, unit, cell in zip(self.columns, self.units, row, strict=True)
            }


def recognises(text: str) -> bool:
    """Tell whether ``text`` has the header of such a table."""
    return any(_header(line) for line in text.splitlines()[:50])


def parse(text: str) -> list[GpuFacts]:
    """Return the one reading of the tables in ``text``."""
    tables = list(read_tables(text))
    cards: list[Card] = []
    processes: dict[str, list[Process]] | None = None
    driver: Fact[str] = absent("not reported")
    taken = ""
    notes: list[str] = []
    for table in tables:
        if "pid" in table.columns:
            processes = processes if processes is not None else {}
            for row in table.dicts():
                _add_process(processes, row)
            continue
        for row in table.dicts():
            cards.append(card_from_row(row, len(cards)))
            driver = read(_text(row, "driver_version"), "text")
            taken = _text(row, "timestamp") or taken
    if not cards and processes is not None:
        notes.append("a list of processes only: nothing is known of the cards without one")
        cards = [_bare_card(key, index) for index, key in enumerate(processes)]
    if processes is not None:
        cards = [_with_processes(card, processes) for card in cards]
    failure = None if tables else Unknown(Reason.UNREADABLE, "no header line names the columns")
    return [
        GpuFacts(
            NAME,
            taken=taken,
            driver=driver,
            cards=tuple(cards),
            failure=failure,
            notes=tuple(notes),
        )
    ]


def read_tables(text: str) -> Iterator[Table]:
    """Yield the tables in ``text``; each begins with a line that names its columns."""
    table: Table | None = None
    for line in text.splitlines():
        header = _header(line)
        if header:
            if table is not None:
                yield table
            table = header
        elif table is not None and line.strip():
            row = _split_row(line, table.columns)
            if row is not None:
                table.rows.append(row)
    if table is not None:
        yield table


def _header(line: str) -> Table | None:
    cells = [cell.strip() for cell in line.strip().split(",")]
    matches = [_COLUMN.fullmatch(cell) for cell in cells]
    if len(cells) < _FEWEST_COLUMNS or not all(matches):
        return None
    names = [match.group(1) for match in matches if match]
    if sum(name in _KNOWN_COLUMNS for name in names) < _FEWEST_COLUMNS:
        return None
    return Table(names, [match.group(2) or "" for match in matches if match])


def _split_row(line: str, columns: list[str]) -> list[str] | None:
    cells = [cell.strip() for cell in line.split(",")]
    extra = len(cells) - len(columns)
    free = [name for name in ("process_name", "name", "gpu_name") if name in columns]
    if extra > 0 and free:
        at = columns.index(free[0])
        cells[at : at + extra + 1] = [",".join(cells[at : at + extra + 1])]
    if len(cells) < len(columns) and len(cells) > 1:
        cells += [""] * (len(columns) - len(cells))  # cut in mid line: nothing printed
    return cells if len(cells) == len(columns) else None


def _text(row: dict[str, tuple[str, str]], name: str) -> str | None:
    return row[name][0] if name in row else None


def _take(row: dict[str, tuple[str, str]], one: Field) -> Fact[Any]:
    def fact(column: str) -> Fact[Any]:
        text, unit = row.get(column, (None, ""))
        return read(text, one.kind, unit)

    if one.column_sums:
        return first(total(map(fact, group)) for group in one.column_sums)
    return first(map(fact, one.columns))


def card_from_row(row: dict[str, tuple[str, str]], index: int) -> Card:
    """Return the card that one row of ``--query-gpu`` describes."""
    values: dict[str, Any] = {one.name: _take(row, one) for one in FIELDS}
    said = read(_text(row, "index"), "count")
    values["index"] = said if isinstance(said, Known) else Known(index)
    values["vendor"] = Known("NVIDIA")
    values["throttle"] = _throttle(row)
    cells = [text for text, _ in row.values()]
    lost = [why for cell in cells if (why := no_value(cell)) and why.reason is Reason.LOST]
    if lost and isinstance(values["memory_used"], Unknown):
        values["error"] = lost[0]
    return make_card(values)


def _throttle(row: dict[str, tuple[str, str]]) -> Fact[tuple[str, ...]]:
    found: list[str] = []
    known = False
    for column, (text, _) in row.items():
        for prefix in ("clocks_event_reasons.", "clocks_throttle_reasons."):
            name = column.removeprefix(prefix)
            if name != column and name not in ("supported", "active"):
                state = read(text, "switch")
                known = known or isinstance(state, Known)
                if isinstance(state, Known) and state.value:
                    found.append(name)
    return Known(tuple(found)) if known else absent("not reported")


def _add_process(processes: dict[str, list[Process]], row: dict[str, tuple[str, str]]) -> None:
    pid = read(_text(row, "pid"), "count")
    if not isinstance(pid, Known):
        return
    memory, unit = row.get("used_gpu_memory", row.get("used_memory", (None, "")))
    name = _text(row, "process_name") or _text(row, "name")
    known = name is not None and no_value(name) is None
    processes.setdefault(_key(row), []).append(
        Process(
            pid=pid.value,
            name=Known(name) if known and name else read(name, "text"),
            kind=Known("C"),
            memory=read(memory, "bytes", unit),
        )
    )


def _key(row: dict[str, tuple[str, str]]) -> str:
    for name in ("gpu_bus_id", "pci.bus_id", "gpu_uuid", "uuid"):
        if name in row:
            return row[name][0].lower()
    return ""


def _bare_card(key: str, index: int) -> Card:
    is_pci = ":" in key
    return make_card(
        {
            "index": Known(index),
            "vendor": Known("NVIDIA"),
            "pci": read(key, "pci") if is_pci else absent("not reported"),
            "uuid": Known(key.replace("gpu-", "GPU-", 1)) if not is_pci and key else absent(),
        }
    )


def _with_processes(card: Card, processes: dict[str, list[Process]]) -> Card:
    own: list[Process] = []
    for key, found in processes.items():
        names = {str(fact.value).lower() for fact in (card.uuid,) if isinstance(fact, Known)}
        pci = read(key, "pci") if ":" in key else absent()
        if key in names or (isinstance(pci, Known) and pci == card.pci) or not key:
            own += found
    return replace(card, processes=Known(tuple(own)))
