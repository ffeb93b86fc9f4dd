"""Users and groups, from wherever the machine's name service takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from labctl.setup.facts.base import Fact
from labctl.transport.script import quote


@dataclass(frozen=True)
class UserState:
    """A line of passwd(5), or its absence."""

    exists: bool = False
    uid: int | None = None
    gid: int | None = None
    gecos: str = ""
    home: str = ""
    shell: str = ""


@dataclass(frozen=True)
class UserFact(Fact):
    """The account ``name``."""

    kind: ClassVar[str] = "user"
    name: str

    @classmethod
    def script(cls, facts: Sequence[Self]) -> str:
        """One ``getent`` for all users."""
        return f"getent passwd -- {' '.join(quote(fact.name) for fact in facts)}\ntrue"

    @classmethod
    def parse(cls, facts: Sequence[Self], output: str) -> Mapping[Self, UserState]:
        """Return the state of each account."""
        states = {}
        for line in output.splitlines():
            fields = line.split(":")
            if len(fields) == 7 and fields[2].isdigit() and fields[3].isdigit():
                name, _, uid, gid, gecos, home, shell = fields
                states[name] = UserState(True, int(uid), int(gid), gecos, home, shell)
        return {fact: states.get(fact.name, UserState()) for fact in facts}


@dataclass(frozen=True)
class GroupState:
    """A line of group(5), or its absence; ``members`` are those named in it."""

    exists: bool = False
    gid: int | None = None
    members: frozenset[str] = frozenset()


@dataclass(frozen=True)
class GroupFact(Fact):
    """The group ``name``."""

    kind: ClassVar[str] = "group"
    name: str

    @classmethod
    def script(cls, facts: Sequence[Self]) -> str:
        """One ``getent`` for all groups."""
        return f"getent group -- {' '.join(quote(fact.name) for fact in facts)}\ntrue"

    @classmethod
    def parse(cls, facts: Sequence[Self], output: str) -> Mapping[Self, GroupState]:
        """Return the state of each group."""
        states = {}
        for line in output.splitlines():
            fields = line.split(":")
            if len(fields) == 4 and fields[2].isdigit():
                members = frozenset(filter(None, fields[3].split(",")))
                states[fields[0]] = GroupState(True, int(fields[2]), members)
        return {fact: states.get(fact.name, GroupState()) for fact in facts}
