"""On a machine that others use too, what is timed in milliseconds goes first, peers alike.

Real-time priority (sched(7)), since a nice value counts only within one session where the kernel
groups processes by session (autogroup). Without the permission all stays as it is.
"""

from __future__ import annotations

import contextlib
import os


def go_first() -> None:
    """Let this process, and all that it starts from now on, come before ordinary ones."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def be_hardware() -> None:
    """Never wait for the processor, as a UART does not."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
