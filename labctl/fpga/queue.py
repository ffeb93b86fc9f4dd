"""Jobs in groups that one simulator can serve; a worker stays with its group while it lasts."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from labctl.fpga.build import Build
from labctl.fpga.selection import Job


@dataclass(frozen=True)
class Expected:
    """What to expect of a test.

    Attributes:
        failed: A run of it failed the last time.
        seconds: How long a run takes, wall-clock.
    """

    failed: bool
    seconds: float


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
    """Jobs that wait, for several workers.

    Args:
        expected: What is known of tests, by the names of their units: those that failed come first,
            then those that take long, so that bad news is early and the last ones end together.
    """

    def __init__(self, expected: Mapping[str, Expected] | None = None) -> None:
        self._expected = expected or {}
        known = [one.seconds for one in self._expected.values()]
        # Of what is new nothing is known: it is as the others are.
        self._usual = Expected(False, sum(known) / len(known) if known else 1.0)
        self._groups: dict[Group, deque[tuple[int, Job]]] = {}
        self._failed: set[Group] = set()
        self._seconds: dict[Group, float] = {}
        self._served: dict[Group, int] = {}
        self._lock = threading.Lock()

    def add(self, jobs: Iterable[tuple[Group, int, Job]]) -> None:
        """Add jobs, each with its group and its number."""
        waiting = [(self._of(entry[2]), entry) for entry in jobs]
        waiting.sort(key=lambda one: (not one[0].failed, -one[0].seconds))
        with self._lock:
            for expected, (group, index, job) in waiting:
                self._groups.setdefault(group, deque()).append((index, job))
                self._seconds[group] = self._seconds.get(group, 0.0) + expected.seconds
                if expected.failed:
                    self._failed.add(group)

    def groups(self) -> list[tuple[Group, list[tuple[int, Job]]]]:
        """Return all that waits, group by group, the largest first."""
        with self._lock:
            found = [(group, list(jobs)) for group, jobs in self._groups.items() if jobs]
        return sorted(found, key=lambda pair: -len(pair[1]))

    def take(self, last: Group | None) -> tuple[Group, int, Job] | None:
        """Take the next job for a worker that had one of ``last``; None if there is none.

        A worker that has to change takes the group that the fewest work on, of those one that
        failed the last time, and of those the one that will take longest, so that few simulators
        start and the last ones end together.
        """
        with self._lock:
            group = last
            if group is None or not self._groups.get(group):
                if group is not None:
                    self._served[group] = self._served.get(group, 1) - 1
                waiting = [one for one, jobs in self._groups.items() if jobs]
                if not waiting:
                    return None
                group = min(waiting, key=self._rank)
                self._served[group] = self._served.get(group, 0) + 1
            index, job = self._groups[group].popleft()
            self._seconds[group] -= self._of(job).seconds
            return group, index, job

    def _rank(self, group: Group) -> tuple[int, bool, float]:
        return (self._served.get(group, 0), group not in self._failed, -self._seconds[group])

    def _of(self, job: Job) -> Expected:
        return self._expected.get(job.unit.name, self._usual)
