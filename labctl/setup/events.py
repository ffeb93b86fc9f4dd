"""What happens during a run, as it happens: printers and journals subscribe, the engine tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from labctl.setup.plan import Plan

ItemStatus = Literal["unchanged", "to_change", "changed", "failed", "not_reached"]
HostStatus = Literal["ok", "failed", "unreachable", "busy", "declined", "interrupted"]


@dataclass(frozen=True)
class ItemResult:
    """What became of one item.

    Attributes:
        id: Kind and name.
        status: What became of it.
        summary: What was or will be done.
        before: What was there.
        after: What is or will be there.
        diff: Unified difference of a text file.
        error: Why it failed.
    """

    id: str
    status: ItemStatus
    summary: str = ""
    before: str = ""
    after: str = ""
    diff: str = ""
    error: str = ""


@dataclass
class HostResult:
    """What became of one machine."""

    host: str
    status: HostStatus = "ok"
    items: list[ItemResult] = field(default_factory=list)
    seconds: float = 0.0
    round_trips: int = 0
    error: str = ""

    def count(self, *status: ItemStatus) -> int:
        """Return how many items ended in one of ``status``."""
        return sum(item.status in status for item in self.items)


@dataclass(frozen=True)
class Event:
    """Something happened on ``host``."""

    host: str


@dataclass(frozen=True)
class Connected(Event):
    """Logged in, after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class PlanMade(Event):
    """It is known what has to change."""

    plan: Plan


@dataclass(frozen=True)
class StepBegun(Event):
    """These items are being changed."""

    ids: Sequence[str]


@dataclass(frozen=True)
class StepProgress(Event):
    """A sign of life from the step at work."""

    text: str


@dataclass(frozen=True)
class ItemDone(Event):
    """An item was changed, or could not be."""

    result: ItemResult


@dataclass(frozen=True)
class Note(Event):
    """Something a person should know, such as a proved login."""

    text: str


@dataclass(frozen=True)
class HostDone(Event):
    """The machine is finished with."""

    result: HostResult
