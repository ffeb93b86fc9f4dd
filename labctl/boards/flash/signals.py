"""Pulses on an adapter's DTR and RTS that reset a board, as its model describes them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labctl.boards.model import SignalStep

if TYPE_CHECKING:
    from labctl.boards.bench import Bench


def pulse(bench: Bench, *, loader: bool) -> bool:
    """Reset the board of ``bench`` by its adapter's signals; return whether its model says how.

    Args:
        bench: The board; its line is leased.
        loader: So that its ROM waits for a program, in place of starting its own.

    Raises:
        UnsupportedError: Its line has no such signals.
    """
    steps: Sequence[SignalStep] = bench.model.reset_signals(loader=loader)
    for step in steps:
        bench.line.set_signals(dtr=step.dtr, rts=step.rts)
        if step.seconds:
            time.sleep(step.seconds)  # how long an output has to stay as it is
    return bool(steps)
