"""Who has announced to use which card until when."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from labctl.errors import BusyError, UsageError
from labctl.gpu.identity import key
from labctl.gpu.state import Booking
from labctl.store.database import Database, Value

if TYPE_CHECKING:
    from labctl.gpu.reading import Reading, Unit

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
# A booking is a word to others, not a possession.
LONGEST_S = 31 * 86400


@dataclass(frozen=True)
class Entry:
    """A booking as it is kept; times are seconds since 1970."""

    id: int
    host: str
    key: str
    name: str
    person: str
    since: int
    until: int
    note: str
    running: bool = False


def me() -> str:
    """Return the person at the keyboard, also behind sudo."""
    import getpass  # noqa: PLC0415 - slow to import

    return os.environ.get("SUDO_USER") or getpass.getuser()


def span(text: str) -> int:
    """Return a time span in seconds: ``90m``, ``4h``, ``2d``.

    Raises:
        UsageError: It is none.
    """
    match = _SPAN.fullmatch(text.strip())
    if not match:
        raise UsageError("no time span", thing=text, action="write it as 90m, 4h or 2d")
    return int(float(match.group(1)) * _SECONDS[match.group(2)])


def holding(database: Database, reading: Reading, unit: Unit, *, now: int) -> Booking | None:
    """Return the booking of a unit that holds now, or None."""
    row = database.execute(
        "SELECT person, until, running FROM bookings WHERE host = ? AND key = ? AND since <= ?"
        " AND until > ? ORDER BY running DESC, id LIMIT 1",
        (reading.host, key(unit), now, now),
    ).fetchone()
    return Booking(row[0], clock(row[1], now), bool(row[2])) if row else None


def book(
    database: Database,
    units: list[tuple[Reading, Unit]],
    *,
    person: str,
    now: int,
    until: int,
    note: str = "",
) -> list[Entry]:
    """Book ``units`` for ``person`` until ``until``: all or none; one's own lasts longer.

    Raises:
        BusyError: One is booked by somebody else.
        UsageError: The time is over already, or too far away.
    """
    if not now < until <= now + LONGEST_S:
        raise UsageError("a booking ends between now and in 31 days")
    for reading, unit in units:
        other = holding(database, reading, unit, now=now)
        if other and other.person != person:
            raise BusyError(
                f"booked by {other.person} until {other.until}",
                thing=f"{reading.host} {unit.name}",
            )
    return [
        _renewed(database, reading, unit, person=person, now=now, until=until, note=note)
        for reading, unit in units
    ]


def _renewed(
    database: Database,
    reading: Reading,
    unit: Unit,
    *,
    person: str,
    now: int,
    until: int,
    note: str,
) -> Entry:
    """Let the person's booking of ``unit`` last until ``until``, or make one."""
    held = database.execute(
        "SELECT id, since FROM bookings WHERE host = ? AND key = ? AND person = ? AND running = 0"
        " AND since <= ? AND until > ? ORDER BY id LIMIT 1",
        (reading.host, key(unit), person, now, now),
    ).fetchone()
    values = (reading.host, key(unit), unit.name, person, held[1] if held else now, until, note)
    if held:
        database.execute(
            "UPDATE bookings SET until = ?, note = ? WHERE id = ?", (until, note, held[0])
        )
        return Entry(held[0], *values)
    return Entry(_new(database, *values, running=0), *values)


def _new(database: Database, *values: Value, running: int) -> int:
    return int(
        database.execute(
            "INSERT INTO bookings (host, key, name, person, since, until, note, running)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (*values, running),
        ).fetchone()[0]
    )


def take(
    database: Database,
    units: list[tuple[Reading, Unit]],
    *,
    person: str,
    now: int,
    until: int,
    note: str,
) -> list[int] | None:
    """Take ``units`` for a command that runs: all or none; return the ids, None if one is taken.

    A booking of one's own does not stand in the way, and stays.
    """
    for reading, unit in units:
        other = holding(database, reading, unit, now=now)
        if other and (other.running or other.person != person):
            return None
    return [
        _new(database, reading.host, key(unit), unit.name, person, now, until, note, running=1)
        for reading, unit in units
    ]


def extend(database: Database, ids: list[int], *, until: int) -> None:
    """Let the bookings ``ids`` end at ``until``."""
    database.executemany(
        "UPDATE bookings SET until = ? WHERE id = ?", [(until, one) for one in ids]
    )


def entries(database: Database, *, now: int) -> list[Entry]:
    """Return the bookings that have not ended, by host and card."""
    rows = database.execute(
        "SELECT id, host, key, name, person, since, until, note, running FROM bookings"
        " WHERE until > ? ORDER BY host, name, id",
        (now,),
    )
    return [replace(Entry(*row), running=bool(row[-1])) for row in rows]


def bookers(database: Database, *, now: int) -> dict[tuple[str, str], list[str]]:
    """Return who has booked what at ``now``: for each host and key, the first to book first."""
    found: dict[tuple[str, str], list[str]] = {}
    for host, name, person in database.execute(
        "SELECT host, key, person FROM bookings WHERE since <= ? AND until > ?"
        " ORDER BY running DESC, id",
        (now, now),
    ):
        found.setdefault((host, name), []).append(person)
    return found


def release(
    database: Database, *, person: str, now: int, host: str = "", name: str = ""
) -> list[Entry]:
    """End the bookings of ``person`` (on ``host``, of the unit ``name``) and return them."""
    ended = [
        entry
        for entry in entries(database, now=now)
        if entry.person == person
        and not entry.running
        and host in ("", entry.host)
        and name in ("", entry.name, entry.key)
    ]
    for entry in ended:
        database.execute("UPDATE bookings SET until = ? WHERE id = ?", (now, entry.id))
    return ended


def clock(moment: int, now: int) -> str:
    """Return a moment in words of this machine's zone: the time today, else with the date."""
    there, here = datetime.fromtimestamp(moment).astimezone(), datetime.fromtimestamp(now)
    return there.strftime("%H:%M" if there.date() == here.date() else "%Y-%m-%d %H:%M")
