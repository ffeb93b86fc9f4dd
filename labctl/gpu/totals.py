"""What the samples of some time add up to, exact to the second.

Whole weeks, days and hours are read from the sums, what is left at both ends from the samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from labctl.gpu.rollup import HOUR_S, LONGEST_GAP_S, SPANS
from labctl.store.database import Database

# Unit by unit, so that both engines go along the primary key.
_SUMS = """
SELECT sums.unit, state, person, booked, fault,
    sum(seconds), sum(load_s), sum(load), sum(power_s), sum(joules)
FROM units CROSS JOIN sums
WHERE span = ? AND sums.unit = units.id AND start >= ? AND start < ? AND (? = 0 OR units.id = ?)
GROUP BY sums.unit, state, person, booked, fault
"""
_SAMPLES = """
SELECT unit, state, person, booked, fault,
    sum(part), sum(CASE WHEN utilisation IS NULL THEN 0 ELSE part END),
    sum(coalesce(utilisation, 0) * part), sum(CASE WHEN power IS NULL THEN 0 ELSE part END),
    sum(coalesce(power, 0) * part)
FROM (
    SELECT samples.unit, state, person, booked, fault, utilisation, power,
        CASE WHEN time < ? THEN time ELSE ? END
        - CASE WHEN time - seconds > ? THEN time - seconds ELSE ? END AS part
    FROM units CROSS JOIN samples
    WHERE samples.unit = units.id AND time > ? AND time < ? AND time - seconds < ?
        AND (? = 0 OR units.id = ?)
) AS parts
WHERE part > 0
GROUP BY unit, state, person, booked, fault
"""


@dataclass(frozen=True)
class Kind:
    """What is told apart: numbers of ``units``, ``people`` and ``faults``; see the tables."""

    unit: int
    state: str
    person: int
    booked: int
    fault: int


@dataclass
class Amount:
    """How much of it there was.

    Attributes:
        seconds: Time.
        load_s: Time of which the utilisation is known.
        load: Utilisation (percent) times time.
        power_s: Time of which the power is known.
        joules: Energy in that time.
    """

    seconds: int = 0
    load_s: int = 0
    load: float = 0.0
    power_s: int = 0
    joules: float = 0.0

    def add(self, other: Amount) -> None:
        """Add another amount to this one."""
        self.seconds += other.seconds
        self.load_s += other.load_s
        self.load += other.load
        self.power_s += other.power_s
        self.joules += other.joules

    @property
    def hours(self) -> float:
        """Time in hours."""
        return self.seconds / HOUR_S

    @property
    def mean_load(self) -> float | None:
        """Mean utilisation, percent; None if it was never known."""
        return self.load / self.load_s if self.load_s else None

    @property
    def kwh(self) -> float | None:
        """Energy; None if the power was never known."""
        return self.joules / 3.6e6 if self.power_s else None


@dataclass
class Totals:
    """Amounts by kind."""

    found: dict[Kind, Amount] = field(default_factory=dict)

    def take(self, rows: Iterator[Any] | list[Any]) -> None:
        """Add rows of the queries above."""
        for row in rows:
            kind = Kind(*row[:5])
            own = self.found.get(kind)
            if own is None:
                self.found[kind] = Amount(*row[5:])
            else:
                own.add(Amount(*row[5:]))


def pieces(since: int, until: int, spans: Sequence[int] = SPANS) -> Iterator[tuple[int, int, int]]:
    """Yield what the time from ``since`` to ``until`` is made of: span (0: samples), from, to."""
    if since >= until:
        return
    if not spans:
        yield 0, since, until
        return
    *finer, span = spans
    first, last = -(-since // span) * span, until // span * span
    if first < last:
        yield from pieces(since, first, finer)
        yield span, first, last
        yield from pieces(last, until, finer)
    else:
        yield from pieces(since, until, finer)


def totals(database: Database, *, since: int, until: int, unit: int = 0) -> Totals:
    """Return the amounts between ``since`` and ``until``, of one ``unit`` or (0) of all."""
    sums = Totals()
    for span, start, end in pieces(since, until):
        if span:
            rows = database.execute(_SUMS, (span, start, end, unit, unit))
        else:
            values = (end, end, start, start, start, end + LONGEST_GAP_S, end, unit, unit)
            rows = database.execute(_SAMPLES, values)
        sums.take(rows.fetchall())
    return sums
