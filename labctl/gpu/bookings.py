"""Who has announced to use which card until when."""

from __future__ import annotations

import getpass
import os
import re
import sqlite3
from dataclasses import dataclass, replace
from datetime import datetime

from labctl.errors import BusyError, UsageError
from labctl.gpu.history import key
from labctl.gpu.reading import Reading, Unit
from labctl.gpu.rule import Booking

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


def holding(
    database: sqlite3.Connection, reading: Reading, unit: Unit, *, now: int
) -> Booking | None:
    """Return the booking of a unit that holds now, or None."""
    row = database.execute(
        "SELECT person, until, running FROM bookings WHERE host = ? AND key = ? AND since <= ?"
        " AND until > ? ORDER BY running DESC, id LIMIT 1",
        (reading.host, key(unit), now, now),
    ).fetchone()
    return Booking(row[0], clock(row[1], now), bool(row[2])) if row else None


def book(
    database: sqlite3.Connection,
    units: list[tuple[Reading, Unit]],
    *,
    person: str,
    now: int,
    until: int,
    note: str = "",
) -> list[Entry]:
    """Book ``units`` for ``person`` until ``until``: all or none; one's own booking is renewed.

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
    entries = []
    for reading, unit in units:
        database.execute(
            "DELETE FROM bookings WHERE host = ? AND key = ? AND person = ? AND NOT running",
            (reading.host, key(unit), person),
        )
        values = (reading.host, key(unit), unit.name, person, now, until, note)
        cursor = database.execute(
            "INSERT INTO bookings (host, key, name, person, since, until, note)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        entries.append(Entry(cursor.lastrowid or 0, *values))
    return entries


def take(
    database: sqlite3.Connection,
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
    ids = []
    for reading, unit in units:
        cursor = database.execute(
            "INSERT INTO bookings (host, key, name, person, since, until, note, running)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
            (reading.host, key(unit), unit.name, person, now, until, note),
        )
        ids.append(cursor.lastrowid or 0)
    return ids


def extend(database: sqlite3.Connection, ids: list[int], *, until: int) -> None:
    """Let the bookings ``ids`` end at ``until``."""
    database.executemany(
        "UPDATE bookings SET until = ? WHERE id = ?", [(until, one) for one in ids]
    )


def entries(database: sqlite3.Connection, *, now: int) -> list[Entry]:
    """Return the bookings that have not ended, by host and card."""
    rows = database.execute(
        "SELECT id, host, key, name, person, since, until, note, running FROM bookings"
        " WHERE until > ? ORDER BY host, name, id",
        (now,),
    )
    return [replace(Entry(*row), running=bool(row[-1])) for row in rows]


def release(
    database: sqlite3.Connection, *, person: str, now: int, host: str = "", name: str = ""
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
