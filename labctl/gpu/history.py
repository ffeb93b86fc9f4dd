"""What was: samples of the cards, as they are recorded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from labctl.facts.value import Fact, Known
from labctl.gpu.bookings import bookers
from labctl.gpu.identity import key
from labctl.gpu.reading import Reading, Unit
from labctl.gpu.rollup import BETWEEN, LONGEST_GAP_S, Kept, keep
from labctl.gpu.show import Line, named_people
from labctl.gpu.state import FAULTS, IN_USE, State
from labctl.report.sanitize import clean_line
from labctl.store.database import Database

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """What one look at a unit has found, ready to be kept.

    Attributes:
        holders: Who uses it, the one with the most memory first.
        why: What is wrong with it, if anything.
        utilisation: Percent.
        memory: Bytes in use.
        power: Watts; None for a part of a card, which does not say.
    """

    host: str
    key: str
    name: str
    model: str
    state: State
    holders: tuple[str, ...] = ()
    why: str = ""
    utilisation: float | None = None
    memory: int | None = None
    power: float | None = None


def samples(lines: Iterable[Line]) -> list[Sample]:
    """Return a sample of each of ``lines``."""
    return [_sample(line) for line in lines]


def _sample(line: Line) -> Sample:
    unit, state = line.unit, line.verdict.state
    why = line.verdict.why if state in FAULTS else ""
    if state is not State.SICK:
        # Sizes and process ids change from one look to the next, and make no new fault.
        why = re.sub(r"\d+", "N", why)
    return Sample(
        line.reading.host,
        key(unit),
        unit.name,
        unit.model,
        state,
        tuple(clean_line(name) for name in named_people(line)),
        clean_line(why, limit=200),
        _known(unit.utilisation),
        _known(unit.memory_used),
        _known(unit.card.power) if unit.part is None else None,
    )


def _known(fact: Fact[T]) -> T | None:
    return fact.value if isinstance(fact, Known) else None


def record(database: Database, found: Sequence[Sample], *, now: int) -> int:
    """Add what was ``found`` at ``now``; return how many samples were new.

    A second recorder in the same second adds nothing. Samples may come late, and out of order.
    """
    booked = bookers(database, now=now)
    added = 0
    for sample in found:
        people = booked.get((sample.host, sample.key), [])
        holders = sample.holders
        kind = 0
        if sample.state is State.BOOKED:
            holders, kind = (people[0],) if people else (), 1
        elif sample.state in IN_USE and people:
            kind = 1 if set(people) & set(holders) else 2
        kept = Kept(
            _unit_id(database, sample), now, 0, str(sample.state),
            _person_id(database, holders), kind, _fault_id(database, sample.why),
            sample.utilisation, sample.memory, sample.power,
        )  # fmt: skip
        added += keep(database, kept)
    return added


def _unit_id(database: Database, sample: Sample) -> int:
    return int(
        database.execute(
            "INSERT INTO units (host, key, name, model) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (host, key) DO UPDATE SET name = excluded.name, model = excluded.model"
            " RETURNING id",
            (sample.host, sample.key, sample.name, sample.model),
        ).fetchone()[0]
    )


def _person_id(database: Database, holders: Sequence[str]) -> int:
    if not holders:
        return 0
    return int(
        database.execute(
            "INSERT INTO people (name) VALUES (?)"
            " ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id",
            (BETWEEN.join(sorted(set(holders))),),
        ).fetchone()[0]
    )


def _fault_id(database: Database, why: str) -> int:
    if not why:
        return 0
    return int(
        database.execute(
            "INSERT INTO faults (why) VALUES (?)"
            " ON CONFLICT (why) DO UPDATE SET why = excluded.why RETURNING id",
            (why,),
        ).fetchone()[0]
    )


def idle_s(database: Database, reading: Reading, unit: Unit, *, now: int) -> float | None:
    """Return for how long a unit has been held without any work; None if that is not known.

    Only unbroken history counts: a gap in the recording may hide work.
    """
    since = now
    known = False
    for time, state, load in _backwards(database, reading.host, key(unit), now):
        if since - time > LONGEST_GAP_S or load is None or load > 0:
            break
        if state not in IN_USE:
            break
        since, known = time, True
    return float(now - since) if known else None


def _backwards(
    database: Database, host: str, name: str, now: int
) -> Iterator[tuple[int, str, float | None]]:
    """Yield time, state and load of samples from ``now`` back, in pieces: most need few."""
    before, size = now + 1, 32
    while True:
        rows = database.execute(
            "SELECT time, state, utilisation FROM samples JOIN units ON units.id = samples.unit"
            " WHERE host = ? AND key = ? AND time < ? ORDER BY time DESC LIMIT ?",
            (host, name, before, size),
        ).fetchall()
        yield from rows
        if len(rows) < size:
            return
        before, size = rows[-1][0], min(size * 4, 4096)
