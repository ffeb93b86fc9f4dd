"""Many machines at once: each its own pipeline, none waits for another."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TypeVar

from labctl.setup.engine import HostRun
from labctl.setup.events import HostResult

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """One machine to be set up."""

    host: str
    run: HostRun


@dataclass
class MainThread:
    """Questions go to the main thread, because only there Ctrl-C ends the waiting for an answer.

    Attributes:
        cancelled: Set when the run is called off.
        slots: One for each machine that may be at work; `run_all` sets how many.
    """

    cancelled: threading.Event = field(default_factory=threading.Event)
    slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(1))
    _calls: SimpleQueue[Callable[[], None] | None] = field(default_factory=SimpleQueue)

    def ask(self, question: Callable[[], T]) -> T:
        """Have ``question`` called in the main thread and return its answer.

        Raises:
            CancelledError: The run was called off meanwhile.
        """
        if threading.current_thread() is threading.main_thread():
            return question()
        answer: Future[T] = Future()

        def call() -> None:
            try:
                answer.set_result(question())
            except Exception as error:
                answer.set_exception(error)
            # KeyboardInterrupt is for `serve`; the asker sees that the run is called off.

        self._calls.put(call)
        while not self.cancelled.is_set():
            with contextlib.suppress(TimeoutError):
                return answer.result(timeout=0.2)
        raise CancelledError

    @contextlib.contextmanager
    def idle(self) -> Iterator[None]:
        """Give this machine's slot to another one while it waits for a person."""
        self.slots.release()
        try:
            yield
        finally:
            self.slots.acquire()

    def worker_ended(self) -> None:
        """Tell the main thread that a worker has ended."""
        self._calls.put(None)

    def serve(self, workers: int) -> None:
        """Answer questions until ``workers`` workers have ended."""
        while workers:
            call = self._calls.get()
            if call is None:
                workers -= 1
            else:
                call()


def run_all(jobs: Sequence[Job], *, workers: int, main: MainThread) -> list[HostResult]:
    """Run ``jobs``, at most ``workers`` at once, and return their results in the order of jobs.

    A machine that waits for a person counts as none: with one question for all machines they must
    all come to it, however few may work at once.

    The first Ctrl-C calls the rest off: machines at work stop after the item in flight.

    Args:
        jobs: The machines.
        workers: How many at once.
        main: Serves the questions of the workers.

    Raises:
        KeyboardInterrupt: A second one came while the machines were stopping.
    """
    main.slots = threading.Semaphore(workers)
    results: dict[str, HostResult] = {}
    crashes: list[BaseException] = []

    def work(job: Job) -> None:
        try:
            with main.slots:
                if not main.cancelled.is_set():
                    results[job.host] = job.run.run()
        except BaseException as error:
            crashes.append(error)
            main.cancelled.set()
        finally:
            main.worker_ended()

    threads = [
        threading.Thread(target=work, args=(job,), name=f"setup {job.host}", daemon=True)
        for job in jobs
    ]
    for thread in threads:
        thread.start()
    try:
        main.serve(len(threads))
    except KeyboardInterrupt:
        main.cancelled.set()
        for thread in threads:
            thread.join()
    if crashes:
        raise crashes[0]
    return [
        results.get(job.host, HostResult(job.host, "interrupted", error=f"{job.host}: not started"))
        for job in jobs
    ]
