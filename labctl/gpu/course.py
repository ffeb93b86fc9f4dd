"""How it went: what the pictures of a report show, hour by hour and day by day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labctl.gpu.report import natural
from labctl.gpu.rollup import DAY_S, HOUR_S, WEEK_S
from labctl.gpu.state import IN_USE
from labctl.store.database import Database

# The map shows a week; the lines and the usual week look back further.
MAP_S = WEEK_S
USUAL_S = 4 * WEEK_S
# A line has a point for each hour up to four weeks, for each day up to half a year, then weeks.
_STEPS = ((4 * WEEK_S, HOUR_S), (26 * WEEK_S, DAY_S))


@dataclass(frozen=True)
class Stretch:
    """Hours on end in which a unit was longest in the same state.

    Attributes:
        start: Seconds since 1970.
        hours: How many.
        load: Mean utilisation, percent; None if it is not known.
    """

    start: int
    hours: int
    state: str
    load: float | None

    @property
    def end(self) -> int:
        """When it was over."""
        return self.start + self.hours * HOUR_S


@dataclass(frozen=True)
class Course:
    """What is drawn.

    Attributes:
        map: For each unit (its host and name): its stretches, from ``map_since`` on.
        usual: For each weekday (Monday is 0) and hour: how much of the cards was in use, 0 to 1;
            None where nothing is known. In the zone of this machine.
        loads: For each host: points of time and mean utilisation, ``step`` seconds apart.
    """

    since: int
    until: int
    map_since: int
    usual_since: int
    step: int
    map: dict[tuple[str, str], list[Stretch]]
    usual: list[list[float | None]]
    loads: dict[str, list[tuple[int, float]]]


def course(database: Database, *, since: int, until: int) -> Course:
    """Return how the time from ``since`` to ``until`` went."""
    map_since = max(since, until - MAP_S) // HOUR_S * HOUR_S
    usual_since = max(since, until - USUAL_S) // HOUR_S * HOUR_S
    step = next((step for most, step in _STEPS if until - since <= most), WEEK_S)
    return Course(
        since, until, map_since, usual_since, step,
        _map(database, map_since, until),
        _usual(database, usual_since, until),
        _loads(database, since, until, step),
    )  # fmt: skip


def _map(database: Database, since: int, until: int) -> dict[tuple[str, str], list[Stretch]]:
    # Unit by unit and hour by hour is the order in which they are kept: nothing is sorted here.
    rows = database.execute(
        "SELECT host, name, start, state, seconds, load_s, load"
        " FROM units CROSS JOIN sums WHERE span = ? AND sums.unit = units.id AND start >= ?"
        " AND start < ? ORDER BY sums.unit, start",
        (HOUR_S, since, until),
    )
    hours: dict[tuple[str, str], dict[int, list[Any]]] = {}
    for host, name, start, *entry in rows:
        hours.setdefault((host, name), {}).setdefault(start, []).append(entry)
    ordered = sorted(hours, key=lambda unit: (unit[0], natural(unit[1])))
    return {unit: _stretches(hours[unit]) for unit in ordered}


def _stretches(hours: dict[int, list[Any]]) -> list[Stretch]:
    """Join hours that were longest in the same state."""
    found: list[Stretch] = []
    load_s, load = 0, 0.0
    for start, entries in sorted(hours.items()):
        state = entries[0][0] if len(entries) == 1 else _longest(entries)
        last = found[-1] if found else None
        if last is not None and (last.state, last.end) == (state, start):
            first = last.start
            found.pop()
        else:
            first, load_s, load = start, 0, 0.0
        for _, _, more_s, more in entries:
            load_s += more_s
            load += more
        mean = load / load_s if load_s else None
        found.append(Stretch(first, (start - first) // HOUR_S + 1, state, mean))
    return found


def _longest(entries: list[Any]) -> str:
    seconds: dict[str, int] = {}
    for state, more, _, _ in entries:
        seconds[state] = seconds.get(state, 0) + more
    return max(sorted(seconds), key=lambda state: seconds[state])


def _usual(database: Database, since: int, until: int) -> list[list[float | None]]:
    rows = database.execute(
        "SELECT start, sum(CASE WHEN state IN (?, ?) THEN seconds ELSE 0 END), sum(seconds)"
        " FROM units CROSS JOIN sums WHERE span = ? AND sums.unit = units.id AND start >= ?"
        " AND start < ? GROUP BY start",
        (*IN_USE, HOUR_S, since, until),
    )
    used = [[0] * 24 for _ in range(7)]
    known = [[0] * 24 for _ in range(7)]
    for start, in_use, seconds in rows:
        # On the day the clocks change one hour of it is there twice, or not at all.
        moment = datetime.fromtimestamp(start)
        used[moment.weekday()][moment.hour] += in_use
        known[moment.weekday()][moment.hour] += seconds
    return [
        [mine / all_ if all_ else None for mine, all_ in zip(*day, strict=True)]
        for day in zip(used, known, strict=True)
    ]


def _loads(
    database: Database, since: int, until: int, step: int
) -> dict[str, list[tuple[int, float]]]:
    rows = database.execute(
        "SELECT host, start, sum(load_s), sum(load) FROM units CROSS JOIN sums WHERE span = ?"
        " AND sums.unit = units.id AND start >= ? AND start < ? GROUP BY host, start"
        " ORDER BY host, start",
        (step, since // step * step, until),
    )
    loads: dict[str, list[tuple[int, float]]] = {}
    for host, start, load_s, load in rows:
        if load_s:
            loads.setdefault(host, []).append((start, load / load_s))
    return loads
