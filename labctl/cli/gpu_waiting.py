"""Why the cards that were asked for cannot be had, told on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labctl.gpu.reading import Reading

NONE_FREE = "no such cards are free; 'labctl gpu' shows who has them"


def hindrances(readings: Iterable[Reading]) -> list[str]:
    """Return what keeps the cards of some hosts from being seen, a line each."""
    from labctl.gpu.show import remarks

    return [text for reading in readings for text in remarks(reading)]


class Waiting:
    """Tells what is waited for: at first, and again when it changes, not at each look."""

    def __init__(self) -> None:
        self._said: list[str] = []

    def tell(self, readings: Iterable[Reading]) -> None:
        """Tell of the last look."""
        words = [f"waiting: {NONE_FREE}", *hindrances(readings)]
        if words != self._said:
            tell(words)
        self._said = words


def tell(words: Iterable[str]) -> None:
    """Print each of ``words`` as a line on standard error."""
    sys.stderr.writelines(f"labctl: {one}\n" for one in words)
