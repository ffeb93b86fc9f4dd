"""Jobs in groups that one simulator can serve; a worker stays with its group while it lasts."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from labctl.fpga.build import Build
from labctl.fpga.selection import Job


@dataclass(frozen=True)
class Group:
    """Jobs of the same build and the same module of tests.

    Attributes:
        core: Name of the core.
        module: Module of tests.
        variant: Name of the set of parameters.
        build: The compiled simulation.
    """

    core: str
    module: str
    variant: str
    build: Build

    @classmethod
    def of(cls, job: Job, build: Build) -> Group:
        """Return the group of ``job``."""
        unit = job.unit
        return cls(unit.core.name, unit.test.module, unit.variant.name, build)


class JobQueue:
    """Jobs that wait, for several workers."""

    def __init__(self) -> None:
        self._groups: dict[Group, deque[tuple[int, Job]]] = {}
        self._served: dict[Group, int] = {}
        self._lock = threading.Lock()

    def add(self, group: Group, index: int, job: Job) -> None:
        """Add ``job``, the one of number ``index``."""
        with self._lock:
            self._groups.setdefault(group, deque()).append((index, job))

    def groups(self) -> list[tuple[Group, list[tuple[int, Job]]]]:
        """Return all that waits, group by group, the largest first."""
        with self._lock:
            found = [(group, list(jobs)) for group, jobs in self._groups.items() if jobs]
        return sorted(found, key=lambda pair: -len(pair[1]))

    def take(self, last: Group | None) -> tuple[Group, int, Job] | None:
        """Take the next job for a worker that had one of ``last``; None if there is none.

        A worker that has to change takes the group that the fewest work on, and of those the one
        with the most jobs, so that few simulators start and the last ones end together.
        """
        with self._lock:
            group = last
            if group is None or not self._groups.get(group):
                if group is not None:
                    self._served[group] = self._served.get(group, 1) - 1
                waiting = [one for one, jobs in self._groups.items() if jobs]
                if not waiting:
                    return None
                group = min(
                    waiting, key=lambda one: (self._served.get(one, 0), -len(self._groups[one]))
                )
                self._served[group] = self._served.get(group, 0) + 1
            index, job = self._groups[group].popleft()
            return group, index, job
