"""What a farm is: somebody else's scheduler that starts our elements on its machines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Farm(Protocol):
    """Starts elements; an element is named by the farm, and the name is used once."""

    def slots(self) -> int:
        """Return how many elements can run at a time, as far as that is known; at least 1."""

    def submit(self, numbers: range) -> None:
        """Let an element start for each of the groups ``numbers``.

        Raises:
            LabctlError: It was refused.
        """

    def living(self) -> frozenset[str] | None:
        """Return the names of the elements that wait or run; None if it cannot be said just now."""

    def why(self, name: str) -> str:
        """Return what became of the element ``name``, in a few words; empty if nobody knows."""

    def close(self, *, cancel: bool) -> None:
        """End: with ``cancel`` all that waits or runs, and do not return before it has gone."""


FarmMaker = Callable[[Path], Farm]
