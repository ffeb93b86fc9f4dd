"""What was: samples of the cards, and the hours that reports read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from labctl.facts.value import Fact, Known
from labctl.gpu.reading import Reading, Unit
from labctl.gpu.rule import State
from labctl.gpu.show import Line, named_people

# A sample stands for the time since the one before it, but not for a gap in the recording.
LONGEST_GAP_S = 300
_HOUR = 3600


def key(unit: Unit) -> str:
    """Return what identifies a unit on its machine: its UUID, else its address or index."""
    for fact in (unit.uuid, unit.card.pci):
        if isinstance(fact, Known) and (unit.part is None or fact is unit.uuid):
            return fact.value
    return unit.name


def record(database: sqlite3.Connection, lines: Sequence[Line], *, now: int) -> int:
    """Add a sample of every unit in ``lines``; return how many were new.

    A second recorder in the same second adds nothing.
    """
    added = 0
    for line in lines:
        unit = _unit_id(database, line.reading, line.unit)
        person = _person_id(database, line)
        before = database.execute(
            "SELECT max(time) FROM samples WHERE unit = ? AND time <= ?", (unit, now)
        ).fetchone()[0]
        load, memory, power = _value(line.unit.utilisation), line.unit.memory_used, line.unit.card
        found = database.execute(
            "INSERT OR IGNORE INTO samples VALUES (?, ?, ?, ?, ?, ?, ?)",
            (unit, now, str(line.verdict.state), person, load, _value(memory), _value(power.power)),
        )
        if not found.rowcount:
            continue
        added += 1
        if before is not None:
            seconds = min(now - before, LONGEST_GAP_S)
            _add_hour(database, line, unit, person or 0, now, seconds)
    return added


def _add_hour(
    database: sqlite3.Connection, line: Line, unit: int, person: int, now: int, seconds: int
) -> None:
    load = _value(line.unit.utilisation) or 0.0
    watts = _value(line.unit.card.power) if line.unit.part is None else None
    database.execute(
        "INSERT INTO hours VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " seconds = seconds + excluded.seconds, load = load + excluded.load,"
        " joules = joules + excluded.joules",
        (now // _HOUR * _HOUR, unit, str(line.verdict.state), person, seconds, load * seconds,
         (watts or 0.0) * seconds),
    )  # fmt: skip


def _value(fact: Fact[float] | Fact[int]) -> float | None:
    return fact.value if isinstance(fact, Known) else None


def _unit_id(database: sqlite3.Connection, reading: Reading, unit: Unit) -> int:
    return int(
        database.execute(
            "INSERT INTO units (host, key, name, model) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (host, key) DO UPDATE SET name = excluded.name, model = excluded.model"
            " RETURNING id",
            (reading.host, key(unit), unit.name, unit.model),
        ).fetchone()[0]
    )


def _person_id(database: sqlite3.Connection, line: Line) -> int | None:
    names = named_people(line)
    if not names:
        return None
    return int(
        database.execute(
            "INSERT INTO people (name) VALUES (?)"
            " ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id",
            (names[0],),
        ).fetchone()[0]
    )


def idle_s(database: sqlite3.Connection, reading: Reading, unit: Unit, *, now: int) -> float | None:
    """Return for how long a unit has been held without any work; None if that is not known.

    Only unbroken history counts: a gap in the recording may hide work.
    """
    rows = database.execute(
        "SELECT time, state, utilisation FROM samples JOIN units ON units.id = samples.unit"
        " WHERE host = ? AND key = ? AND time <= ? ORDER BY time DESC",
        (reading.host, key(unit), now),
    )
    since = now
    known = False
    for time, state, load in rows:
        if since - time > LONGEST_GAP_S or load is None or load > 0:
            break
        if state not in (State.BUSY, State.IDLE_HELD):
            break
        since, known = time, True
    return float(now - since) if known else None


@dataclass(frozen=True)
class Share:
    """Time of one unit in one state by one person (empty: nobody), summed up.

    Attributes:
        load: Mean utilisation in that time, percent.
        kwh: Energy drawn in that time.
    """

    host: str
    unit: str
    model: str
    person: str
    state: str
    hours: float
    load: float
    kwh: float


def shares(database: sqlite3.Connection, *, since: int, until: int) -> list[Share]:
    """Return the times between ``since`` and ``until``, whole hours of them."""
    rows = database.execute(
        "SELECT units.host, units.name, units.model, coalesce(people.name, ''), hours.state,"
        " sum(seconds), sum(load), sum(joules)"
        " FROM hours JOIN units ON units.id = hours.unit"
        " LEFT JOIN people ON people.id = hours.person"
        " WHERE hour >= ? AND hour < ? GROUP BY hours.unit, hours.person, hours.state"
        " ORDER BY units.host, units.name, sum(seconds) DESC",
        (since // _HOUR * _HOUR, until),
    )
    return [
        Share(host, unit, model, person, state, seconds / _HOUR,
              load / seconds if seconds else 0.0, joules / 3.6e6)
        for host, unit, model, person, state, seconds, load, joules in rows
    ]  # fmt: skip


def by_person(found: Iterable[Share]) -> list[tuple[str, float, float, float]]:
    """Return for each person: name, hours held, hours of them idle-held, kWh; most hours first."""
    sums: dict[str, list[float]] = {}
    for share in found:
        if share.person:
            entry = sums.setdefault(share.person, [0.0, 0.0, 0.0])
            entry[0] += share.hours
            entry[1] += share.hours if share.state == State.IDLE_HELD else 0.0
            entry[2] += share.kwh
    rows = [(name, held, idle, kwh) for name, (held, idle, kwh) in sums.items()]
    return sorted(rows, key=lambda row: -row[1])
