"""Shares of a stimulus: what one seed does not do, the next one does."""

from collections.abc import Sequence
from typing import TypeVar

import cocotb

T = TypeVar("T")


def by_seed(choices: Sequence[T], turn: int = 0) -> T:
    """Return one of ``choices``, in their order from seed to seed and from turn to turn.

    The seeds of a regression count up, so as many seeds as there are choices take each once: kinds
    of stimulus that are rare by chance occur for sure, and no single run has to have them all.

    Args:
        choices: kinds of stimulus.
        turn: number of the turn within a run.
    """
    return choices[(int(cocotb.RANDOM_SEED) + turn) % len(choices)]
