"""Open a database, by path or URL; what is done with it is one transaction.

Writers take turns, on either engine: a writer sees what the one before has left, so that "look,
then write" needs no further lock. Readers see one moment, and stand in nobody's way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from labctl.store.place import Place
from labctl.store.schema import NothingThereError, OlderError, Schema

Value = str | int | float | None
# How long to wait for a server, and for another labctl that writes.
PATIENCE_S = 10.0


class Rows(Protocol):
    """What a statement has found."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""

    def fetchone(self) -> Any:  # noqa: ANN401 - a row of whatever was asked for
        """Return the next row, or None."""

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """Yield the rows."""


class Database(Protocol):
    """An open database in a transaction. Statements are in the dialect of `labctl.store.schema`."""

    engine: str  # "sqlite" or "postgresql"

    def execute(self, sql: str, values: Sequence[Value] = ()) -> Rows:
        """Do one statement with ``values`` in place of its question marks."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Do one statement for each of ``rows``."""


@contextlib.contextmanager
def opened(
    where: str | Path | Place,
    schema: Schema,
    *,
    write: bool = True,
    patience_s: float = PATIENCE_S,
) -> Iterator[Database]:
    """Open the database; what the block does is one transaction, and undone if it raises.

    Args:
        where: A path, or ``postgresql://USER@HOST/DATABASE``.
        schema: What is kept in it; whoever writes makes and updates its tables.
        write: To write; a file is made if need be. Who only reads needs no right to write.
        patience_s: How long to wait for the server, and for other writers.

    Raises:
        NothingThereError: ``write`` is false, and nobody has written yet.
        BusyError: Others have been writing for too long.
        UnreachableError: The server does not answer, or broke off.
        DependencyError: The package for PostgreSQL is not installed.
        UsageError: ``where`` is none, or holds a password.
        LabctlError: It is damaged, full, not writable, or of a later labctl.
    """
    place = where if isinstance(where, Place) else Place.of(where)
    if place.path is not None and not write and _is_empty(place.path):
        raise NothingThereError("nothing is kept there yet", thing=str(place))
    transaction = _engine(place)
    with contextlib.ExitStack() as stack:
        try:
            database = stack.enter_context(
                transaction(place, schema, write=write, patience_s=patience_s)
            )
        except OlderError:
            with transaction(place, schema, write=True, patience_s=patience_s):
                pass
            database = stack.enter_context(
                transaction(place, schema, write=write, patience_s=patience_s)
            )
        yield database


def _is_empty(path: Path) -> bool:
    """Tell whether nobody has written: another labctl may just be making the file."""
    try:
        return path.stat().st_size == 0
    except FileNotFoundError:
        return True
    except OSError:
        return False  # the engine says what it is


class _Transaction(Protocol):
    def __call__(
        self, place: Place, schema: Schema, *, write: bool, patience_s: float
    ) -> contextlib.AbstractContextManager[Database]: ...


def _engine(place: Place) -> _Transaction:
    # Both are slow to import, and only one is needed.
    if place.path is not None:
        from labctl.store import sqlite  # noqa: PLC0415

        return sqlite.transaction
    from labctl.store import postgres  # noqa: PLC0415

    return postgres.transaction


def plain(values: Sequence[Value]) -> list[Value]:
    """Return ``values`` with texts that every engine takes: no NUL, no half characters."""
    return [
        value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
        if isinstance(value, str)
        else value
        for value in values
    ]
