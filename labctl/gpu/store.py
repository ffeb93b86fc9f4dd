"""The file that history and bookings are kept in: SQLite, one for a lab.

``$LABCTL_GPU_DB`` names it, so that people share one; otherwise it is the user's own. Its faults
are told as what they are: locked, full, damaged, not writable.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from labctl.errors import BusyError, LabctlError
from labctl.gpu.place import database_path
from labctl.paths import make_private

# How long to wait for another labctl that writes.
_BUSY_S = 10.0
_VERSION = 1

_SCHEMA = """
CREATE TABLE units (
    id INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    key TEXT NOT NULL,       -- UUID, or index or address where it has none
    name TEXT NOT NULL,
    model TEXT NOT NULL,
    UNIQUE (host, key)
);
CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
-- One row for each unit and sample. Times are seconds since 1970, UTC.
CREATE TABLE samples (
    unit INTEGER NOT NULL REFERENCES units,
    time INTEGER NOT NULL,
    state TEXT NOT NULL,
    person INTEGER REFERENCES people,
    utilisation REAL,
    memory INTEGER,
    power REAL,
    PRIMARY KEY (unit, time)
) WITHOUT ROWID;
-- What reports read: seconds by hour, unit, state and person; joules of what was drawn.
CREATE TABLE hours (
    hour INTEGER NOT NULL,
    unit INTEGER NOT NULL REFERENCES units,
    state TEXT NOT NULL,
    person INTEGER NOT NULL,  -- 0: nobody
    seconds REAL NOT NULL,
    load REAL NOT NULL,       -- utilisation x seconds
    joules REAL NOT NULL,
    PRIMARY KEY (hour, unit, state, person)
) WITHOUT ROWID;
CREATE TABLE bookings (
    id INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    person TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    running INTEGER NOT NULL DEFAULT 0  -- 1: held by a command that runs, and by nobody else
);
CREATE INDEX bookings_by_unit ON bookings (host, key, until);
"""


@contextlib.contextmanager
def opened(path: Path | None = None, *, write: bool = True) -> Iterator[sqlite3.Connection]:
    """Open the database; what the block does is one transaction.

    Args:
        path: The file; `database_path` if not given.
        write: To write; then the file is made if need be. Who only reads needs no right to write,
            and stands in nobody's way.

    Raises:
        BusyError: Another labctl has been writing for too long.
        LabctlError: It is damaged, full, not writable, or of a later labctl.
    """
    path = path or database_path()
    try:
        if write and not path.parent.is_dir():
            make_private(path.parent)
        name = f"file:{quote(str(path))}?mode={'rwc' if write else 'ro'}"
        connection = sqlite3.connect(name, uri=True, timeout=_BUSY_S, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise _explained(error, path) from error
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        _prepare(connection, path, write=write)
        yield connection
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise _explained(error, path) from error
    finally:
        connection.close()  # what was not committed is rolled back


def _prepare(connection: sqlite3.Connection, path: Path, *, write: bool) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise LabctlError("written by a later labctl", thing=str(path), action="update labctl")
    if version == 0 and not write:
        raise LabctlError("no database of labctl's", thing=str(path), action="move it away")
    if version == 0:
        for statement in _SCHEMA.split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_VERSION}")


def _explained(error: Exception, path: Path) -> LabctlError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    thing = str(path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return BusyError(
            f"another program has been writing to it for {_BUSY_S:.0f} s",
            thing=thing,
            action="see who: fuser -v FILE",
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LabctlError(
            "it is damaged, or no database",
            thing=thing,
            action="move it away; what can be saved: sqlite3 FILE .recover",
        )
    if code == sqlite3.SQLITE_FULL:
        return LabctlError("the disk is full", thing=thing, action="make room: df -h")
    return LabctlError(str(error), thing=thing, action="look at the file and its folder")
