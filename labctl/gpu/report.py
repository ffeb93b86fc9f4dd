"""What a report tells: who had which card for how long, what stood idle, what was wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from labctl.gpu.bookings import Entry, entries
from labctl.gpu.rollup import BETWEEN, HOUR_S
from labctl.gpu.state import FAULTS, IN_USE, State
from labctl.gpu.totals import Amount, Totals, totals
from labctl.store.database import Database


@dataclass(frozen=True)
class Share:
    """Time of one unit in one state, held by the same people.

    Attributes:
        people: Who held it; of a unit that is `State.BOOKED`, who had booked it.
        booked: 0 without a booking, 1 with one of those who held it, 2 with one of others only.
        why: What was wrong with it, if anything.
    """

    host: str
    unit: str
    model: str
    people: tuple[str, ...]
    state: str
    booked: int
    why: str
    amount: Amount

    @property
    def person(self) -> str:
        """The people as one text; empty: nobody."""
        return ", ".join(self.people)


@dataclass
class Person:
    """What one person had; a card that several held counts for each of them.

    Attributes:
        hours: Held.
        idle: Of them, without any work.
        shared: Of them, together with others.
        unbooked: Of them, without a booking of theirs.
        unused: Booked, and not used; not part of ``hours``.
        kwh: Drawn by what was held; of a shared card, an equal part. None: not known.
    """

    name: str
    hours: float = 0.0
    idle: float = 0.0
    shared: float = 0.0
    unbooked: float = 0.0
    unused: float = 0.0
    kwh: float | None = None


@dataclass
class CardTime:
    """What one card did: hours by state, and in all."""

    host: str
    unit: str
    model: str
    states: dict[str, float] = field(default_factory=dict)
    amount: Amount = field(default_factory=Amount)


@dataclass(frozen=True)
class Fault:
    """What was wrong with a card; it may have come and gone between ``first`` and ``last``."""

    host: str
    unit: str
    model: str
    state: str
    why: str
    first: int
    last: int
    hours: float


@dataclass(frozen=True)
class Report:
    """All of it; times are seconds since 1970."""

    since: int
    until: int
    shares: list[Share]
    faults: list[Fault]
    bookings: int

    @property
    def people(self) -> list[Person]:
        """Everybody, who held most first."""
        return by_person(self.shares)

    @property
    def cards(self) -> list[CardTime]:
        """Every card."""
        return by_card(self.shares)

    @property
    def unbooked(self) -> list[Share]:
        """Use without a booking of those who used it, the longest first."""
        found = [one for one in self.shares if one.state in IN_USE and one.booked != 1]
        return sorted(found, key=lambda one: -one.amount.seconds)

    @property
    def unused(self) -> list[Share]:
        """Time that was booked and not used, the longest first."""
        found = [one for one in self.shares if one.state == State.BOOKED]
        return sorted(found, key=lambda one: -one.amount.seconds)


def report(database: Database, *, since: int, until: int) -> Report:
    """Return the report of the time from ``since`` to ``until``."""
    found = shares(database, totals(database, since=since, until=until))
    (booked,) = database.execute(
        "SELECT count(*) FROM bookings WHERE since < ? AND until > ?", (until, since)
    ).fetchone()
    return Report(since, until, found, faults(database, found, since, until), booked)


def shares(database: Database, found: Totals) -> list[Share]:
    """Return amounts with their names, by host and unit, the longest first."""
    units = {
        number: (host, name, model)
        for number, host, name, model in database.execute("SELECT id, host, name, model FROM units")
    }
    people = dict(database.execute("SELECT id, name FROM people").fetchall())
    whys = dict(database.execute("SELECT id, why FROM faults").fetchall())
    named = [
        Share(*units[kind.unit], _names(people.get(kind.person)), kind.state, kind.booked,
              whys.get(kind.fault, ""), amount)
        for kind, amount in found.found.items()
    ]  # fmt: skip
    return sorted(
        named,
        key=lambda one: (one.host, natural(one.unit), -one.amount.seconds, one.state, one.people),
    )


def _names(holders: str | None) -> tuple[str, ...]:
    return tuple(holders.split(BETWEEN)) if holders else ()


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts 2 before 10, and 0:2 before 0:10."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in name.split(":"))


def by_person(found: Iterable[Share]) -> list[Person]:
    """Return what each person had, who held most first."""
    people: dict[str, Person] = {}
    for share in found:
        for name in share.people:
            own = people.setdefault(name, Person(name))
            hours = share.amount.hours
            if share.state == State.BOOKED:
                own.unused += hours
                continue
            own.hours += hours
            own.idle += hours if share.state == State.IDLE_HELD else 0.0
            own.shared += hours if len(share.people) > 1 else 0.0
            own.unbooked += hours if share.state in IN_USE and share.booked != 1 else 0.0
            if share.amount.kwh is not None:
                own.kwh = (own.kwh or 0.0) + share.amount.kwh / len(share.people)
    return sorted(people.values(), key=lambda one: (-one.hours, -one.unused, one.name))


def by_card(found: Iterable[Share]) -> list[CardTime]:
    """Return what each card did, by host and unit."""
    cards: dict[tuple[str, str, str], CardTime] = {}
    for share in found:
        who = (share.host, share.unit, share.model)
        own = cards.setdefault(who, CardTime(*who))
        own.states[share.state] = own.states.get(share.state, 0.0) + share.amount.hours
        own.amount.add(share.amount)
    return list(cards.values())


def faults(database: Database, found: list[Share], since: int, until: int) -> list[Fault]:
    """Return what was wrong with which card from when until when, the latest first."""
    if not any(share.state in FAULTS for share in found):
        return []
    hours: dict[tuple[str, str, str, str], float] = {}
    for share in found:
        if share.state in FAULTS:
            where = (share.host, share.unit, share.state, share.why)
            hours[where] = hours.get(where, 0.0) + share.amount.hours
    rows = database.execute(
        "SELECT sums.unit, host, name, model, state, fault, why, min(start), max(start)"
        " FROM sums JOIN units ON units.id = sums.unit JOIN faults ON faults.id = fault"
        " WHERE span = ? AND fault > 0 AND start >= ? AND start < ?"
        " GROUP BY sums.unit, host, name, model, state, fault, why",
        (HOUR_S, since // HOUR_S * HOUR_S, until),
    ).fetchall()
    told = []
    for unit, host, name, model, state, fault, why, earliest, latest in rows:
        first = _edge(database, "min(time - seconds)", unit, fault, earliest)
        last = _edge(database, "max(time)", unit, fault, latest)
        long = hours.get((host, name, state, why), 0.0)
        if long:
            told.append(
                Fault(host, name, model, state, why, max(first, since), min(last, until), long)
            )
    return sorted(told, key=lambda one: (-one.last, one.host, natural(one.unit)))


def _edge(database: Database, what: str, unit: int, fault: int, hour: int) -> int:
    """Return the first or last second of a fault in the hour that is known to have it."""
    (found,) = database.execute(
        "SELECT WHAT FROM samples WHERE unit = ? AND fault = ? AND time > ?"
        " AND time - seconds < ?".replace("WHAT", what),
        (unit, fault, hour, hour + HOUR_S),
    ).fetchone()
    return int(found)


# --- what is booked now --------------------------------------------------------------------------


@dataclass(frozen=True)
class Use:
    """A booking, and what has come of it.

    Attributes:
        used: Hours in which its person worked on the card; None where nothing was recorded.
        idle: Hours in which it stood empty, or was held without work.
    """

    entry: Entry
    used: float | None
    idle: float | None


def uses(database: Database, *, now: int) -> list[Use]:
    """Return the bookings that have not ended, and how much of each was used so far."""
    return [_use(database, entry, now) for entry in entries(database, now=now)]


def _use(database: Database, entry: Entry, now: int) -> Use:
    row = database.execute(
        "SELECT id FROM units WHERE host = ? AND key = ?", (entry.host, entry.key)
    ).fetchone()
    if row is None:
        return Use(entry, None, None)
    found = shares(database, totals(database, since=entry.since, until=now, unit=row[0]))
    if not found:
        return Use(entry, None, None)
    own = [share for share in found if entry.person in share.people]
    used = sum(share.amount.hours for share in own if share.state == State.BUSY)
    idle = (State.BOOKED, State.IDLE_HELD)
    return Use(entry, used, sum(share.amount.hours for share in own if share.state in idle))
