"""SQLite: a file that people of one machine share. Its faults are told as what they are."""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from labctl.errors import BusyError, LabctlError
from labctl.paths import make_private
from labctl.store.database import Rows, Value, plain
from labctl.store.place import Place
from labctl.store.schema import NothingThereError, Schema

_WORDS = {"id": "INTEGER PRIMARY KEY", "clustered": "WITHOUT ROWID"}
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class SqliteDatabase:
    """An open file."""

    engine = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def execute(self, sql: str, values: Sequence[Value] = ()) -> Rows:
        """Do one statement with ``values`` in place of its question marks."""
        return self.connection.execute(sql, plain(values))

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Do one statement for each of ``rows``."""
        self.connection.executemany(sql, (plain(row) for row in rows))


@contextlib.contextmanager
def transaction(
    place: Place, schema: Schema, *, write: bool, patience_s: float
) -> Iterator[SqliteDatabase]:
    """Open the file of ``place`` for one transaction; see `labctl.store.database.opened`."""
    path = place.path
    assert path is not None
    unchanged: Callable[[], None] | None = None
    try:
        if write and not path.parent.is_dir():
            make_private(path.parent)
        if write:
            connection = _connect(path, "mode=rwc", patience_s)
        else:
            connection, unchanged = _reader(path, patience_s)
    except (OSError, sqlite3.Error) as error:
        raise _explained(error, path, patience_s) from error
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        if write:
            _log_ahead(connection)
        connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        database = SqliteDatabase(connection)
        _prepare(database, schema, path, write=write)
        yield database
        connection.execute("COMMIT")
        if unchanged is not None:
            unchanged()
    except sqlite3.Error as error:
        if unchanged is not None:
            unchanged()
        raise _explained(error, path, patience_s) from error
    finally:
        connection.close()  # what was not committed is rolled back


def _connect(path: Path, how: str, patience_s: float) -> sqlite3.Connection:
    name = f"file:{quote(str(path))}?{how}"
    return sqlite3.connect(name, uri=True, timeout=patience_s, isolation_level=None)


def _reader(path: Path, patience_s: float) -> tuple[sqlite3.Connection, Callable[[], None] | None]:
    """Open ``path`` to read; return with it what tells that it stayed as it was, if need be.

    A file with a log can only be read by those who may make the log's index beside it, while
    nobody else has it open. Who may not reads it as a file that does not change (``immutable``,
    sqlite.org/wal.html#readonly), and looks afterwards whether that was true.
    """
    connection = _connect(path, "mode=ro", patience_s)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as error:
        log = path.with_name(f"{path.name}-wal")
        if _code(error) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) or log.exists():
            connection.close()
            raise
    except sqlite3.Error:
        connection.close()
        raise
    else:
        return connection, None
    connection.close()
    seen = path.stat()

    def unchanged() -> None:
        now = path.stat()
        if log.exists() or (now.st_mtime_ns, now.st_size) != (seen.st_mtime_ns, seen.st_size):
            raise BusyError("it changed while it was read", thing=str(path), action="try again")

    return _connect(path, "mode=ro&immutable=1", patience_s), unchanged


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Let readers and the writer go on beside each other (sqlite.org/wal.html)."""
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Others use it just now: it stays as it is until the next time.
            if _code(error) not in _LOCKED:
                raise


def _prepare(database: SqliteDatabase, schema: Schema, path: Path, *, write: bool) -> None:
    # Tells whose file it is (sqlite.org/pragma.html#pragma_application_id): 31 bits of the name.
    own = zlib.crc32(f"labctl {schema.name}".encode()) & 0x7FFFFFFF
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (owner,) = database.execute("PRAGMA application_id").fetchone()
    if owner not in (0, own):
        raise LabctlError(
            f"the database of something else than labctl {schema.name}",
            thing=str(path),
            action="name another file",
        )
    if version == 0:
        if database.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
            raise LabctlError(
                "no database of labctl's", thing=str(path), action="name another file"
            )
        if not write:
            raise NothingThereError("nothing is kept there yet", thing=str(path))
    if schema.missing(version, thing=str(path), write=write):
        schema.advance(database, version, _WORDS)
        database.execute(f"PRAGMA application_id = {own}")
        database.execute(f"PRAGMA user_version = {len(schema.steps)}")


def _code(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _explained(error: Exception, path: Path, patience_s: float) -> LabctlError:
    code, thing = _code(error), str(path)
    if code in _LOCKED:
        return BusyError(
            f"locked: another program has been writing to it for {patience_s:.0f} s",
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
    if code == sqlite3.SQLITE_READONLY or isinstance(error, PermissionError):
        return LabctlError(
            "not yours to write", thing=thing, action="ask its owner, or name another file"
        )
    cause = error.strerror if isinstance(error, OSError) else None
    return LabctlError(cause or str(error), thing=thing, action="look at the file and its folder")
