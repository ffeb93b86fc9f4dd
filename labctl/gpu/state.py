"""The words for what a card does; apart from the rule, whose facts are slow to import."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What can be said of a card."""

    FREE = "free"
    BUSY = "busy"
    IDLE_HELD = "idle-held"
    GHOST = "ghost"
    BOOKED = "booked"
    SICK = "sick"
    UNKNOWN = "unknown"


FAULTS = (State.SICK, State.GHOST, State.UNKNOWN)
IN_USE = (State.BUSY, State.IDLE_HELD)


@dataclass(frozen=True)
class Booking:
    """Somebody has announced to use the card.

    Attributes:
        person: Who.
        until: When it ends, in words.
        running: Held by a command that runs: not even its own person can have the card.
    """

    person: str
    until: str = ""
    running: bool = False
