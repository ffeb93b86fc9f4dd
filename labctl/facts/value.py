"""A fact is a value, or the reason why there is none: never a bare N/A, never a silent zero.

A reader has to say what it does with both: ``isinstance(fact, Known)`` or a ``match``. Reasons tell
apart what a health rule must tell apart: a card that has no fan (not supported) from a card that
fell off the bus (lost) and from a driver that never answers (timed out).

JSON form: ``{"value": ...}`` or ``{"unknown": REASON, "words": "..."}``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
U = TypeVar("U")


class Reason(StrEnum):
    """Why a fact has no value."""

    ABSENT = "absent"
    """There is no such thing here: no swap, no program of that name, a field not reported."""
    NOT_SUPPORTED = "not_supported"
    """The thing is there and cannot say this: a card without ECC, a kernel without PSI."""
    NO_PERMISSION = "no_permission"
    """It can be said, but not to us."""
    LOST = "lost"
    """What was asked has gone: a card off the bus, a connection that broke in mid answer."""
    TIMED_OUT = "timed_out"
    """No answer within the deadline."""
    UNREADABLE = "unreadable"
    """There was an answer that we do not understand; the words quote it."""


@dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """A fact with its value."""

    value: T

    def map(self, change: Callable[[T], U]) -> Known[U]:
        """Return the fact that ``change`` makes of the value."""
        return Known(change(self.value))


@dataclass(frozen=True, slots=True)
class Unknown:
    """A fact without a value.

    Attributes:
        reason: Why.
        words: The same for people, with what was tried or said; may be empty.
    """

    reason: Reason
    words: str = ""

    def map(self, change: Callable[..., object]) -> Unknown:
        """Return this fact: no value, nothing to change."""
        return self

    def __str__(self) -> str:
        said = self.reason.replace("_", " ")
        return f"{said}: {self.words}" if self.words else said


Fact: TypeAlias = Known[T] | Unknown


def absent(words: str = "") -> Unknown:
    """Return the fact that there is no such thing."""
    return Unknown(Reason.ABSENT, words)


def unreadable(said: str, *, limit: int = 80) -> Unknown:
    """Return the fact that the answer ``said`` is not understood."""
    quoted = said if len(said) <= limit else said[: limit - 1] + "…"
    return Unknown(Reason.UNREADABLE, f"unexpected answer {quoted!r}")


def parsed(text: str, read: Callable[[str], T]) -> Fact[T]:
    """Return what ``read`` makes of ``text``, or that it is unreadable if that raises ValueError.

    An empty text is absent: a program that printed nothing has not said zero.
    """
    text = text.strip()
    if not text:
        return absent()
    try:
        return Known(read(text))
    except ValueError:
        return unreadable(text)


def from_json(kind: Any, data: object) -> Any:  # noqa: ANN401 - a type, and a value of it
    """Return the value of type ``kind`` that ``data`` (of `to_json`) stands for.

    Args:
        kind: A dataclass, a sequence of something, a scalar, or a fact of one of these.
        data: As another machine sent it. A fact in it that is not what it should be is unreadable
            for itself; what it lacks is absent.

    Raises:
        ValueError: It is no such thing.
    """
    arguments = get_args(kind)
    if Unknown in arguments:  # a fact: Known[T] | Unknown
        return _fact_from_json(get_args(arguments[0])[0], data)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(data, Mapping):
            raise ValueError(f"{kind.__name__} is no object")
        hints = get_type_hints(kind)
        return kind(
            **{
                entry.name: from_json(hints[entry.name], data.get(entry.name, _MISSING))
                for entry in dataclasses.fields(kind)
            }
        )
    if get_origin(kind) is Sequence:
        if not isinstance(data, list):
            raise ValueError("no list")
        return tuple(from_json(arguments[0], value) for value in data)
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        data = float(data)
    if type(data) is not kind or (isinstance(data, float) and not math.isfinite(data)):
        raise ValueError(f"no {getattr(kind, '__name__', kind)}")
    # Half of a pair, which JSON can hold, is no character that can be printed.
    return data.encode(errors="replace").decode() if isinstance(data, str) else data


_MISSING = object()


def _fact_from_json(kind: Any, data: object) -> Fact[Any]:  # noqa: ANN401
    if data is _MISSING:
        return absent("not reported")
    try:
        if isinstance(data, Mapping) and "value" in data:
            return Known(from_json(kind, data["value"]))
        if isinstance(data, Mapping):
            return Unknown(Reason(data["unknown"]), str(data.get("words", "")))
    except (ValueError, KeyError, OverflowError):
        pass
    return unreadable(str(data))


def to_json(thing: object) -> object:
    """Return ``thing`` (facts, dataclasses, mappings, sequences, scalars) as JSON data."""
    if isinstance(thing, Known):
        return {"value": to_json(thing.value)}
    if isinstance(thing, Unknown):
        return {"unknown": str(thing.reason), "words": thing.words}
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return {
            field.name: to_json(getattr(thing, field.name)) for field in dataclasses.fields(thing)
        }
    if isinstance(thing, Mapping):
        return {str(key): to_json(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [to_json(value) for value in thing]
    if isinstance(thing, (set, frozenset)):
        return sorted(str(value) for value in thing)
    return thing
