"""What a fact is, how facts are collected in one go, and the world that they make up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Self, TypeVar

from labctl.transport.script import Record, record

T = TypeVar("T")


class Fact(ABC):
    """One question about a machine. Subclasses are frozen dataclasses, equal if they ask the same.

    Attributes:
        kind: Word for this kind of fact, unique among them.
    """

    kind: ClassVar[str]

    @classmethod
    @abstractmethod
    def script(cls, facts: Sequence[Self]) -> str:
        """Return a POSIX shell snippet that answers all ``facts``; it must not write anything."""

    @classmethod
    @abstractmethod
    def parse(cls, facts: Sequence[Self], output: str) -> Mapping[Self, object]:
        """Return the value of each of ``facts`` from what the snippet printed."""

    @classmethod
    def merge(cls, facts: Sequence[Self]) -> Sequence[Self]:
        """Return ``facts`` without those that ask the same."""
        return list(dict.fromkeys(facts))


class World:
    """What is known of a machine: its facts now, or as earlier changes will leave them."""

    def __init__(self, values: Mapping[Fact, object] | None = None) -> None:
        self._values: dict[Fact, object] = dict(values or {})

    def get(self, fact: Fact, kind: type[T]) -> T:
        """Return the value of ``fact``, which is of type ``kind``; KeyError if not collected."""
        value = self._values[fact]
        if not isinstance(value, kind):
            raise TypeError(f"{fact} is {type(value).__name__}, not {kind.__name__}")
        return value

    def update(self, values: Mapping[Fact, object]) -> None:
        """Learn ``values``: newly collected ones, or the effects of a planned change."""
        self._values.update(values)

    def copy(self) -> World:
        """Return a world of its own with the same values."""
        return World(self._values)


def collect_script(facts: Iterable[Fact]) -> str:
    """Return a snippet that collects ``facts``, one record for each kind; duplicates count once."""
    return "".join(
        record(f"fact {kind.kind}", kind.script(kind.merge(group)))
        for kind, group in _by_kind(facts).items()
    )


def parse_collected(facts: Iterable[Fact], records: Iterable[Record]) -> dict[Fact, object]:
    """Return the values of ``facts`` from the records of `collect_script`.

    Raises:
        ValueError: A record is missing or its snippet did not answer.
    """
    outputs = {entry.name: entry.output for entry in records}
    values: dict[Fact, object] = {}
    for kind, group in _by_kind(facts).items():
        name = f"fact {kind.kind}"
        if name not in outputs:
            raise ValueError(f"the machine did not answer: {name}")
        answers = kind.parse(kind.merge(group), outputs[name])
        values.update(answers)
    return values


def _by_kind(facts: Iterable[Fact]) -> dict[type[Fact], list[Fact]]:
    groups: dict[type[Fact], list[Fact]] = {}
    for fact in facts:
        groups.setdefault(type(fact), []).append(fact)
    return groups
