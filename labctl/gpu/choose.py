"""Which of the free cards fit a wish."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from labctl.errors import UsageError
from labctl.facts.value import Known
from labctl.gpu.show import Line
from labctl.gpu.state import State

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", re.IGNORECASE)
_SCALES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True)
class Wish:
    """What is wanted.

    Attributes:
        count: How many cards.
        memory: Free memory of each, bytes.
        same_host: All on one machine.
        person: Whose bookings count as free.
    """

    count: int = 1
    memory: int = 0
    same_host: bool = False
    person: str = ""


def size(text: str) -> int:
    """Return a size in bytes: ``40G`` and ``40GiB`` are 40 x 2**30, a bare number is bytes.

    Raises:
        UsageError: It is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise UsageError("no size of memory", thing=text, action="write it as 40G or 800M")
    return int(float(match.group(1)) * _SCALES[match.group(2).upper()])


def free_memory(line: Line) -> int | None:
    """Return how many bytes can be had of a unit; None where it is not known."""
    total, used = line.unit.memory_total, line.unit.memory_used
    reserved = line.unit.memory_reserved
    if not isinstance(total, Known) or not isinstance(used, Known):
        return None
    kept = reserved.value if isinstance(reserved, Known) else 0
    return max(0, total.value - used.value - kept)


def fitting(lines: Sequence[Line], wish: Wish) -> list[Line]:
    """Return the units that can be had, the best first.

    The smallest that fit come first, so that big cards stay for those who need them; of equal ones
    those of which nothing is to be noted.
    """
    found = [
        (memory, len(line.verdict.notes), at, line)
        for at, line in enumerate(lines)
        if line.verdict.state is State.FREE or _own_booking(line, wish.person)
        if (memory := free_memory(line)) is not None and memory >= wish.memory
    ]
    return [line for *_, line in sorted(found, key=lambda entry: entry[:3])]


def pick(lines: Sequence[Line], wish: Wish) -> list[Line] | None:
    """Return the units for ``wish``, or None if they cannot be had now."""
    found = fitting(lines, wish)
    if not wish.same_host:
        return found[: wish.count] if len(found) >= wish.count else None
    by_host: dict[str, list[Line]] = {}
    for line in found:
        by_host.setdefault(line.reading.host, []).append(line)
    enough = [own for own in by_host.values() if len(own) >= wish.count]
    if not enough:
        return None
    # The machine that has the fewest to spare: what is left over stays together elsewhere.
    return min(enough, key=len)[: wish.count]


def _own_booking(line: Line, person: str) -> bool:
    verdict = line.verdict
    return verdict.state is State.BOOKED and bool(person) and verdict.person == person
