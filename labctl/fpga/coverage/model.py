"""Coverage of many runs, which can be put together in any order and any grouping.

A *point* is something that can be reached: a bin that a testbench declares, a bit that rises, a
line, a branch. Points are in *scopes*, each of one kind. Of each run it is kept what it reached.
Totals are derived from that. So a run that is added twice counts once, and neither the order nor
the machine on which something ran can make a difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# In the order in which they are shown.
KINDS = ("functional", "toggle", "line", "branch")
ScopeName = tuple[str, str]
_DIGITS = re.compile(r"(\d+)")
_MAX_COUNT = 2**62


@dataclass(frozen=True)
class Hits:
    """What one run reached of one scope.

    Attributes:
        kind: One of `KINDS`.
        scope: What it belongs to.
        points: All that can be reached there.
        mask: Bit ``i`` is set where ``points[i]`` was reached.
        counts: How often, by the index of the point, where that is worth knowing.
    """

    kind: str
    scope: str
    points: Sequence[str]
    mask: int
    counts: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of_counts(cls, kind: str, scope: str, counts: Mapping[str, int]) -> Hits:
        """Return the hits that ``counts`` says, by the names of the points."""
        points = list(counts)
        reached = {at: counts[point] for at, point in enumerate(points) if counts[point] > 0}
        return cls(kind, scope, points, sum(1 << at for at in reached), reached)


@dataclass(frozen=True)
class Summary:
    """One scope over all runs.

    Attributes:
        kind: One of `KINDS`.
        scope: Its name.
        points: Each point with how often it was reached: of functional bins the hits of all runs,
            of other kinds the number of runs.
    """

    kind: str
    scope: str
    points: Mapping[str, int]

    @property
    def total(self) -> int:
        """How many points there are."""
        return len(self.points)

    @property
    def covered(self) -> int:
        """How many points were reached."""
        return sum(count > 0 for count in self.points.values())

    @property
    def missing(self) -> list[str]:
        """The points that no run reached."""
        return [point for point, count in self.points.items() if not count]


@dataclass
class _Reached:
    mask: int = 0
    counts: dict[int, int] = field(default_factory=dict)

    def take(self, mask: int, counts: Mapping[int, int]) -> None:
        self.mask |= mask
        for at, count in counts.items():
            self.counts[at] = max(count, self.counts.get(at, 0))


class CoverageData:
    """The coverage of runs, by their names."""

    def __init__(self) -> None:
        self._points: dict[ScopeName, dict[str, int]] = {}
        self._runs: dict[str, dict[ScopeName, _Reached]] = {}
        # Points of each scope that were added last and are where they were.
        self._last: dict[ScopeName, Sequence[str]] = {}

    def __bool__(self) -> bool:
        """Tell whether there is something that can be reached."""
        return bool(self._points)

    @property
    def runs(self) -> list[str]:
        """The names of the runs, in alphabetical order."""
        return sorted(self._runs)

    def add(self, run: str, hits: Iterable[Hits]) -> None:
        """Add what the run of the name ``run`` reached; adding it again changes nothing."""
        own = self._runs.setdefault(run, {})
        for one in hits:
            name = (one.kind, one.scope)
            mask, counts = one.mask, one.counts
            places = self._places(name, one.points)
            if places is not None:
                mask = _moved(mask, places)
                counts = {places[at]: count for at, count in counts.items()}
            own.setdefault(name, _Reached()).take(mask, counts)

    def _places(self, name: ScopeName, points: Sequence[str]) -> list[int] | None:
        """Return where points are in their scope, added if need be; None if where they were."""
        if self._last.get(name) is points:  # the next seed of the same build
            return None
        index = self._points.setdefault(name, {})
        places = [index.setdefault(point, len(index)) for point in points]
        if places != list(range(len(places))):
            return places
        self._last[name] = points
        return None

    def merge(self, other: CoverageData) -> None:
        """Add all runs of ``other``."""
        for name, index in other._points.items():
            mine = self._points.setdefault(name, {})
            for point in index:
                mine.setdefault(point, len(mine))
        for run, scopes in other._runs.items():
            self._runs.setdefault(run, {})
            self.add(
                run,
                (
                    Hits(*name, list(other._points[name]), reached.mask, reached.counts)
                    for name, reached in scopes.items()
                ),
            )

    def summaries(self) -> list[Summary]:
        """Return each scope over all runs."""
        return [
            Summary(*name, {point: totals[at] for point, at in self._sorted(name)})
            for name in self._names()
            for totals in [self._totals(name)]
        ]

    def masks(self) -> Iterator[tuple[str, int]]:
        """Yield each run and what it reached of everything, as one set of bits."""
        places, width = {}, 0
        for name in self._names():
            places[name] = width
            width += len(self._points[name])
        for run in self.runs:
            scopes = self._runs[run].items()
            yield run, sum(reached.mask << places[name] for name, reached in scopes)

    def as_data(self) -> dict[str, Any]:
        """Return it for JSON; equal for equal coverage, whatever the order it was added in."""
        names = self._names()
        numbers = {name: number for number, name in enumerate(names)}
        places = {name: self._moves(name) for name in names}
        runs: dict[str, list[Any]] = {}
        for run in self.runs:
            rows = []
            for name, reached in self._runs[run].items():
                place = places[name]
                mask = reached.mask if place is None else _moved(reached.mask, place)
                counts = sorted((place[at] if place else at, n) for at, n in reached.counts.items())
                rows.append([numbers[name], f"{mask:x}", {str(at): n for at, n in counts}])
            runs[run] = sorted(rows, key=lambda row: row[0])
        scopes = [
            {"kind": kind, "scope": scope, "points": [p for p, _ in self._sorted((kind, scope))]}
            for kind, scope in names
        ]
        return {"scopes": scopes, "runs": runs}

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> CoverageData:
        """Return what `as_data` gave.

        Raises:
            ValueError: It is something else.
        """
        found = cls()
        try:
            scopes = [(str(one["kind"]), str(one["scope"])) for one in data["scopes"]]
            points = [list(map(str, one["points"])) for one in data["scopes"]]
            for name, some in zip(scopes, points, strict=True):
                if name[0] not in KINDS or len(set(some)) != len(some) or name in found._points:
                    raise ValueError(f"scope {name[1]!r} is of an unknown kind or there twice")
                found._points[name] = {point: at for at, point in enumerate(some)}
            for run, rows in data["runs"].items():
                found._runs.setdefault(str(run), {})
                for number, mask, counts in rows:
                    kind, scope = scopes[number]
                    found.add(str(run), [_checked(kind, scope, points[number], mask, counts)])
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"it is not coverage: {error!r}") from None
        return found

    def _names(self) -> list[ScopeName]:
        return sorted(self._points, key=lambda name: (KINDS.index(name[0]), _natural(name[1])))

    def _sorted(self, name: ScopeName) -> list[tuple[str, int]]:
        return sorted(self._points[name].items(), key=lambda item: _natural(item[0]))

    def _moves(self, name: ScopeName) -> list[int] | None:
        """Return where each point comes to be by order of names; None if all stay."""
        order = [at for _, at in self._sorted(name)]
        if order == list(range(len(order))):
            return None
        places = [0] * len(order)
        for new, old in enumerate(order):
            places[old] = new
        return places

    def _totals(self, name: ScopeName) -> list[int]:
        totals = [0] * len(self._points[name])
        same: dict[int, int] = {}
        for scopes in self._runs.values():
            reached = scopes.get(name)
            if reached is None:
                continue
            for at, count in reached.counts.items():
                totals[at] += count
            if not reached.counts:
                same[reached.mask] = same.get(reached.mask, 0) + 1
        for mask, runs in same.items():  # many runs reach exactly the same
            for at in _bits(mask):
                totals[at] += runs
        return totals


def _checked(
    kind: str, scope: str, points: list[str], mask: str, counts: Mapping[str, int]
) -> Hits:
    number = int(mask, 16)
    some = {int(at): int(count) for at, count in counts.items()}
    right = all(0 <= at < len(points) and number >> at & 1 for at in some)
    if number < 0 or number >> len(points) or not right:
        raise ValueError(f"scope {scope!r} has fewer points than were reached")
    if not all(0 < count < _MAX_COUNT for count in some.values()):
        raise ValueError(f"scope {scope!r} has a count that is none")
    return Hits(kind, scope, points, number, some)


def _moved(mask: int, places: Sequence[int]) -> int:
    found = 0
    for at in _bits(mask):
        found |= 1 << places[at]
    return found


def _bits(mask: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set."""
    text = bin(mask)[:1:-1]
    at = text.find("1")
    while at >= 0:
        yield at
        at = text.find("1", at + 1)


def _natural(text: str) -> tuple[list[tuple[int, str]], str]:
    """Return a key that puts ``level=10`` after ``level=9``."""
    parts = _DIGITS.split(text)
    # Numbers of any length: first by how long they are, without leading zeros.
    keys = [
        (len(part.lstrip("0")) if number % 2 else -1, part.lstrip("0") if number % 2 else part)
        for number, part in enumerate(parts)
    ]
    return keys, text
