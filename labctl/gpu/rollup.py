"""Sums of samples by hour, day and week, which reports read instead of the samples.

They are kept with each sample, and can be made anew of all samples at any time: both give the same,
in whatever order the samples came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from labctl.store.database import Database

# A sample stands for the time since the one before it, but not for a gap in the recording.
LONGEST_GAP_S = 300
HOUR_S = 3600
DAY_S = 86400
WEEK_S = 7 * DAY_S
# Each is a multiple of the one before; all begin at multiples of themselves since 1970.
SPANS = (HOUR_S, DAY_S, WEEK_S)
# How the names of several holders of one card are kept as one.
BETWEEN = "\n"

_ADD = """
INSERT INTO sums VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (span, unit, start, state, person, booked, fault) DO UPDATE SET
    seconds = sums.seconds + excluded.seconds,
    load_s = sums.load_s + excluded.load_s,
    load = sums.load + excluded.load,
    power_s = sums.power_s + excluded.power_s,
    joules = sums.joules + excluded.joules
"""
# A sample is at most LONGEST_GAP_S long, so it lies in one hour or in two.
_HOURS = """
INSERT INTO sums
SELECT HOUR, unit, start, state, person, booked, fault, sum(part),
    sum(CASE WHEN utilisation IS NULL THEN 0 ELSE part END), sum(coalesce(utilisation, 0) * part),
    sum(CASE WHEN power IS NULL THEN 0 ELSE part END), sum(coalesce(power, 0) * part)
FROM (
    SELECT unit, (time - 1) / HOUR * HOUR AS start, state, person, booked, fault, utilisation,
        power, CASE WHEN seconds > time - (time - 1) / HOUR * HOUR
        THEN time - (time - 1) / HOUR * HOUR ELSE seconds END AS part
    FROM samples
    UNION ALL
    SELECT unit, (time - 1) / HOUR * HOUR - HOUR, state, person, booked, fault, utilisation,
        power, seconds - (time - (time - 1) / HOUR * HOUR)
    FROM samples WHERE seconds > time - (time - 1) / HOUR * HOUR
) AS parts
WHERE part > 0
GROUP BY unit, start, state, person, booked, fault
""".replace("HOUR", str(HOUR_S))
_COARSER = """
INSERT INTO sums
SELECT SPAN, unit, start / SPAN * SPAN AS first, state, person, booked, fault,
    sum(seconds), sum(load_s), sum(load), sum(power_s), sum(joules)
FROM sums WHERE span = FINER GROUP BY unit, first, state, person, booked, fault
"""


@dataclass(frozen=True)
class Kept:
    """A sample as it is kept: what was so in the ``seconds`` before ``time``."""

    unit: int
    time: int
    seconds: int
    state: str
    person: int
    booked: int
    fault: int
    utilisation: float | None
    memory: int | None
    power: float | None


def parts(time: int, seconds: int, span: int) -> Iterator[tuple[int, int]]:
    """Yield the spans that the ``seconds`` before ``time`` lie in: their start, and how many.

    A second belongs to the span in which it begins.
    """
    end = time
    while end > time - seconds:
        start = (end - 1) // span * span
        first = max(start, time - seconds)
        yield start, end - first
        end = first


def keep(database: Database, sample: Kept) -> bool:
    """Add a sample, in its place among the others of its unit; return whether it is new.

    A sample of the same second, of another recorder, is left as it is. Of ``sample`` the seconds
    are not read, but computed.
    """
    unit, time = sample.unit, sample.time
    (before,) = database.execute(
        "SELECT max(time) FROM samples WHERE unit = ? AND time < ?", (unit, time)
    ).fetchone()
    seconds = 0 if before is None else min(time - before, LONGEST_GAP_S)
    made = database.execute(
        "INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (unit, time, seconds, sample.state, sample.person, sample.booked, sample.fault,
         sample.utilisation, sample.memory, sample.power),
    )  # fmt: skip
    if not made.rowcount:
        return False
    _count(database, sample, seconds, 1)
    later = database.execute(
        "SELECT * FROM samples WHERE unit = ? AND time > ? ORDER BY time LIMIT 1", (unit, time)
    ).fetchone()
    if later is not None:
        _shorten(database, Kept(*later), min(later[1] - time, LONGEST_GAP_S))
    return True


def _shorten(database: Database, later: Kept, seconds: int) -> None:
    """Let a sample that was there stand for ``seconds`` only: another has come before it."""
    if seconds == later.seconds:
        return
    database.execute(
        "UPDATE samples SET seconds = ? WHERE unit = ? AND time = ?",
        (seconds, later.unit, later.time),
    )
    _count(database, later, seconds, 1)
    _count(database, later, later.seconds, -1)


def _count(database: Database, sample: Kept, seconds: int, sign: int) -> None:
    load, watts = sample.utilisation, sample.power
    for span in SPANS:
        for start, part in parts(sample.time, seconds, span):
            count = sign * part
            database.execute(
                _ADD,
                (span, sample.unit, start, sample.state, sample.person, sample.booked, sample.fault,
                 count, 0 if load is None else count, (load or 0.0) * count,
                 0 if watts is None else count, (watts or 0.0) * count),
            )  # fmt: skip
            if sign < 0:
                database.execute(
                    "DELETE FROM sums WHERE span = ? AND unit = ? AND start = ? AND seconds = 0",
                    (span, sample.unit, start),
                )


def rebuild(database: Database) -> None:
    """Make all sums anew of the samples."""
    database.execute("DELETE FROM sums")
    database.execute(_HOURS)
    for finer, span in pairwise(SPANS):
        database.execute(_COARSER.replace("SPAN", str(span)).replace("FINER", str(finer)))
