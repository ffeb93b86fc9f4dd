"""Mistakes in an inventory file: where, what, and what to write instead."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import UsageError

# A quoted piece of the file is cut here, so that a line of the report stays a line.
_QUOTE_LIMIT = 40


@dataclass(frozen=True, order=True)
class Diagnostic:
    """One mistake.

    Attributes:
        line: Line in the file, from 1.
        column: Column in characters, from 1.
        message: What is wrong, and what to write instead.
    """

    line: int
    column: int
    message: str


class InventoryError(UsageError):
    """An inventory file has mistakes; carries every one of them.

    Args:
        path: The file as it is shown to people.
        diagnostics: Its mistakes in any order; equal ones count once.
    """

    def __init__(self, path: str, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(sorted(set(diagnostics)))
        count = len(self.diagnostics)
        super().__init__(
            f"{count} mistake{'' if count == 1 else 's'}",
            thing=path,
            action="correct the lines named above and run 'labctl inventory check'",
        )

    def __str__(self) -> str:
        """Return one line ``file:line:column: message`` for each mistake, in file order."""
        return "\n".join(
            f"{self.thing}:{one.line}:{one.column}: {one.message}" for one in self.diagnostics
        )


def shown_path(path: Path) -> str:
    """Return ``path`` relative to the current folder where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def quote(value: object) -> str:
    """Return ``value`` in quotes, short, on one line and without control characters."""
    text = str(value)
    if len(text) > _QUOTE_LIMIT:
        text = text[: _QUOTE_LIMIT - 1] + "…"
    if not text.isprintable():
        text = repr(text)[1:-1]
    return f"'{text}'"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the known word nearest to ``word``, or an empty text."""
    near = _nearest(word, tuple(known))
    return f"; did you mean {quote(near)}?" if near else ""


@functools.lru_cache(maxsize=256)
def _nearest(word: str, known: tuple[str, ...]) -> str | None:
    # difflib is quadratic in the length of the words; nobody mistypes a word this long.
    if len(word) > 2 * _QUOTE_LIMIT:
        return None
    lowered = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), lowered, n=1)
    return lowered[near[0]] if near else None
