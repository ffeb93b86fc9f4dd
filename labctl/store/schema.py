"""The tables of one job, as the steps that lead to them.

A database remembers how many steps it has taken; who opens it to write takes the others. Steps are
never changed once they are released, only added.

The dialect: what SQLite (3.40) and PostgreSQL (15) both take, and

* ``?`` for a value, nowhere else;
* in steps ``{id}`` for a number that the database gives and ``{clustered}`` behind a table that is
  read by its primary key; a statement ends with ``;`` at the end of a line;
* ``BIGINT`` for times and bytes, ``DOUBLE PRECISION`` for fractions (PostgreSQL's INTEGER and REAL
  have 32 bits), INTEGER of 0 and 1 for yes and no;
* ``RETURNING`` where a number was given, ``ON CONFLICT ... DO`` for upserts, where a column of the
  table is written with the table's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labctl.errors import LabctlError

if TYPE_CHECKING:
    from labctl.store.database import Database


class NothingThereError(LabctlError):
    """There is no database yet, or nothing of this job in it: nobody has written."""


class OlderError(LabctlError):
    """An earlier labctl made it, and who only reads cannot take the steps that are missing."""


@dataclass(frozen=True)
class Schema:
    """What one job keeps.

    Attributes:
        name: Lower-case word; on a server the tables stand in the schema ``labctl_NAME``.
        steps: Statements in the dialect, or functions that are given the database.
    """

    name: str
    steps: tuple[str | Callable[[Database], None], ...]

    def missing(self, version: int, *, thing: str, write: bool) -> int:
        """Return how many steps are missing of ``version``.

        Raises:
            LabctlError: It was made by a later labctl; `OlderError`: by an earlier one, and
                ``write`` is not allowed.
        """
        left = len(self.steps) - version
        if left < 0:
            raise LabctlError("written by a later labctl", thing=thing, action="update labctl")
        if left and not write:
            raise OlderError("made by an earlier labctl", thing=thing)
        return left

    def advance(self, database: Database, version: int, words: Mapping[str, str]) -> None:
        """Take the steps after ``version``, with the engine's own ``words``."""
        for step in self.steps[version:]:
            if isinstance(step, str):
                for statement in statements(step, words):
                    database.execute(statement)
            else:
                step(database)


def statements(text: str, words: Mapping[str, str]) -> Iterator[str]:
    """Yield the statements of a step, with ``{word}`` replaced and comments left out."""
    bare = "\n".join(line.partition("--")[0].rstrip() for line in text.splitlines())
    for word, meant in words.items():
        bare = bare.replace("{" + word + "}", meant)
    for statement in (bare + "\n").split(";\n"):
        if statement.strip():
            yield statement.strip()
