"""Sentences of rules: text with ``{expression}`` or ``{expression|form}`` in it.

Forms: ``percent``, ``bytes``, ``seconds``, ``duration``, ``ago``, ``list``, ``words``, ``count``,
``last``. What is not known says so, so a sentence never hides a gap.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labctl.facts.value import Unknown
from labctl.health.expr import Expression, ExpressionError, compile_expression

_HOLE = re.compile(r"\{([^{}|]+)(?:\|(\w+))?\}")
_MOST = 5  # items of a list that a sentence names


def size(count: float) -> str:
    """Return a number of bytes for people, in powers of 1000 as disks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.5:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Return a time span for people, in its largest unit that counts."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (length != 86400 and seconds >= length):
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _list(values: Sequence[object]) -> str:
    words = list(dict.fromkeys(str(value) for value in values))
    more = f" and {len(words) - _MOST} more" if len(words) > _MOST else ""
    return ", ".join(words[:_MOST]) + more if words else "none"


FORMS: Mapping[str, Callable[[Any], str]] = {
    "percent": lambda share: f"{share * 100:.0f}%" if share <= 0.99 else f"{share * 100:.1f}%",
    "bytes": size,
    "seconds": lambda value: f"{value:.1f} s",
    "duration": duration,
    "ago": lambda value: f"{duration(value)} ago",
    "list": _list,
    "words": lambda values: " ".join(str(value) for value in values),
    "count": lambda values: str(len(values)),
    "last": lambda values: str(values[-1]) if values else "none",
}


@dataclass(frozen=True)
class Sentence:
    """Text with holes, checked."""

    pieces: tuple[str | tuple[Expression, str], ...]

    def fill(self, names: Mapping[str, object]) -> str:
        """Return the text with its holes filled."""
        return "".join(
            piece if isinstance(piece, str) else _say(*piece, names) for piece in self.pieces
        )


def compile_sentence(text: str) -> Sentence:
    """Return ``text`` as a sentence.

    Raises:
        ExpressionError: A hole holds no expression, or names a form that there is not.
    """
    pieces: list[str | tuple[Expression, str]] = []
    end = 0
    for hole in _HOLE.finditer(text):
        if hole.start() > end:
            pieces.append(text[end : hole.start()])
        form = hole.group(2) or ""
        if form and form not in FORMS:
            raise ExpressionError(f"there is no form {form!r}; forms are {', '.join(FORMS)}")
        pieces.append((compile_expression(hole.group(1)), form))
        end = hole.end()
    if end < len(text):
        pieces.append(text[end:])
    return Sentence(tuple(pieces))


def _say(expression: Expression, form: str, names: Mapping[str, object]) -> str:
    value = expression.value(names)
    if isinstance(value, Unknown):
        return "not known"
    if form:
        return FORMS[form](value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
