"""Do jobs again and again in the background, each on its own; what came last can be had at once.

Every job has its own next time, so one that takes long delays itself and nobody else, as long as
not all workers are at such ones. A job that fails is tried again like any other.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Seen(Generic[T]):
    """What became of a job so far.

    Attributes:
        last: What it returned the last time; None before the first end.
        good_at: When it last succeeded, seconds since the epoch; None for never.
        runs: How often it has ended.
        failures: How often without success.
    """

    last: T | None = None
    good_at: float | None = None
    runs: int = 0
    failures: int = 0


@dataclass(frozen=True)
class Job(Generic[T]):
    """Something to be done regularly.

    Attributes:
        host: The host that it is about.
        about: What it asks the host, one word.
        run: Does it; bounded in time, and does not raise for what is wrong with the host.
        good: Tells whether what came is a success.
    """

    host: str
    about: str
    run: Callable[[], T]
    good: Callable[[T], bool]


@dataclass(order=True)
class _Turn:
    due: float
    number: int
    job: Job[object] = field(compare=False)


class Regular:
    """Jobs that run in the background.

    Args:
        jobs: The jobs; no two about the same of one host.
        every: Seconds from one start of a job to its next; later where it takes longer.
        workers: How many at once.
    """

    def __init__(self, jobs: Sequence[Job[object]], *, every: float, workers: int) -> None:
        self._every = every
        self._changed = threading.Condition()
        self._stopped = False
        self._turns = [_Turn(0.0, number, job) for number, job in enumerate(jobs)]
        self._seen: dict[Job[object], Seen[object]] = {job: Seen() for job in jobs}
        self._workers = min(workers, len(jobs))

    def start(self) -> None:
        """Begin; all jobs are due at once."""
        for number in range(self._workers):
            threading.Thread(target=self._work, name=f"metrics {number}", daemon=True).start()

    def seen(self) -> dict[Job[object], Seen[object]]:
        """Return what became of each job; never waits for one."""
        with self._changed:
            return dict(self._seen)

    def stop(self) -> None:
        """Begin no more jobs; those under way are left behind."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _work(self) -> None:
        while (turn := self._next()) is not None:
            begun = time.monotonic()
            try:
                said: object = turn.job.run()
                good = turn.job.good(said)
            except Exception:  # a defect met by one odd host must not end the others' readings
                said, good = None, False
            with self._changed:
                before = self._seen[turn.job]
                self._seen[turn.job] = replace(
                    before,
                    last=said,
                    good_at=time.time() if good else before.good_at,
                    runs=before.runs + 1,
                    failures=before.failures + (not good),
                )
                due = max(begun + self._every, time.monotonic())
                heapq.heappush(self._turns, replace(turn, due=due))
                self._changed.notify()

    def _next(self) -> _Turn | None:
        """Wait until a job is due and return it; None when it is over."""
        with self._changed:
            while not self._stopped:
                left = self._turns[0].due - time.monotonic() if self._turns else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._turns)
                self._changed.wait(left)
        return None
