"""What happened to each of several machines that were worked on at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from labctl.errors import LabctlError
from labctl.vlab.state import Machine, MachineRecord


@dataclass(frozen=True)
class Outcome:
    """What happened to one machine.

    Attributes:
        name: Its name.
        result: ``started``, ``already up``, ``stopped``, ``not running`` or ``failed``.
        seconds: How long it took.
        record: Its record, where it runs.
        error: Why it failed.
    """

    name: str
    result: str
    seconds: float
    record: MachineRecord | None = None
    error: LabctlError | None = None


def for_each(wanted: Sequence[Machine], action: Callable[[Machine], Outcome]) -> list[Outcome]:
    """Run ``action`` for all machines at once; a failure becomes an outcome."""

    def safely(machine: Machine) -> Outcome:
        started = time.monotonic()
        try:
            return action(machine)
        except LabctlError as error:
            seconds = round(time.monotonic() - started, 1)
            return Outcome(machine.name, "failed", seconds, error=error)

    if not wanted:
        return []
    with ThreadPoolExecutor(max_workers=min(32, len(wanted))) as pool:
        return list(pool.map(safely, wanted))
