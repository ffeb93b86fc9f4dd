"""A regression: build what is needed, run all jobs, run one failure of each kind with waves."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from labctl.fpga import data_files
from labctl.fpga.build import Build, BuildError, try_build
from labctl.fpga.coverage.collect import collect
from labctl.fpga.coverage.model import CoverageData
from labctl.fpga.engines.base import Ended, Engine, Last, Task
from labctl.fpga.engines.process import ProcessEngine
from labctl.fpga.engines.watch import Cancelled
from labctl.fpga.farms.base import FarmMaker
from labctl.fpga.queue import Expected, Group, JobQueue
from labctl.fpga.replays import waves_of_last
from labctl.fpga.results import JobResult, read_result
from labctl.fpga.selection import Job, Unit
from labctl.fpga.toolchain import Toolchain

# Kinds of failures that are run again with waves; more are more than anybody looks at.
MAX_REPLAYS = 5
# What a run writes: through a link it would be written into somebody else's folder.
_WRITTEN = {
    "results.xml", "sim_build", "last", "log.txt", "stack.txt", "coverage", "coverage.dat",
    "waves.fst", "waves.vcd",
}  # fmt: skip
# A copy of a simulator costs some milliseconds: with one each half second they are 1 % to 2 %.
DEFAULT_LAST_S = 0.5
EngineMaker = Callable[[Toolchain, threading.Event], Engine]


@dataclass(frozen=True)
class Options:
    """How to run.

    Attributes:
        jobs: How many simulations at a time.
        waves: ``never``, ``fail`` (one failure of each kind has them: the last of the run where the
            engine can replay it, or the whole, run again) or ``always``.
        keep: Keep the folders of jobs that passed.
        engine: Makes the engine of a thread.
        farm: Makes the farm whose machines run it all; None for this machine.
        last_s: About so much processor time before a failure is recorded.
        expected: What is known of tests, by the names of their units: for the order.
    """

    jobs: int = 1
    waves: str = "fail"
    keep: bool = False
    engine: EngineMaker = ProcessEngine
    farm: FarmMaker | None = None
    last_s: float = DEFAULT_LAST_S
    expected: Mapping[str, Expected] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of a regression.

    Attributes:
        results: One for each job, in the order in which they were asked for.
        compiled: How many simulations were compiled.
        reused: How many were found.
        seconds: Wall-clock time of all.
        notes: What is worth telling about how it was run.
        coverage: What the runs reached; empty where nobody asked for it.
    """

    results: tuple[JobResult, ...]
    compiled: int
    reused: int
    seconds: float
    notes: tuple[str, ...] = ()
    coverage: CoverageData = field(default_factory=CoverageData)

    @property
    def counts(self) -> dict[str, int]:
        """How many jobs have which status."""
        found = {"passed": 0, "failed": 0, "hung": 0, "error": 0, "skipped": 0}
        for one in self.results:
            found[one.status] += 1
        return found

    @property
    def failures(self) -> list[list[JobResult]]:
        """What did not pass, those of one kind together, in each the shortest first."""
        buckets: dict[str, list[JobResult]] = {}
        for one in self.results:
            if not one.fine:
                buckets.setdefault(one.bucket, []).append(one)
        return [sorted(some, key=lambda one: one.sim_ns) for some in buckets.values()]


@dataclass
class _Run:
    tools: Toolchain
    options: Options
    folder: Path
    tell: Callable[[JobResult], None]
    cancel: threading.Event = field(default_factory=threading.Event)
    results: dict[int, JobResult] = field(default_factory=dict)
    # Simulated time of the shortest failure with waves, by unit; longer ones need none.
    shortest: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    coverage: CoverageData = field(default_factory=CoverageData)


def run(
    jobs: Sequence[Job],
    tools: Toolchain,
    folder: Path,
    options: Options,
    tell: Callable[[JobResult], None] = lambda result: None,
) -> Outcome:
    """Run ``jobs`` and return what came of them.

    Args:
        jobs: What to run.
        tools: The simulator.
        folder: An empty folder for logs, results and waves.
        options: How to run.
        tell: Called with each result as it comes, by one thread at a time.

    Raises:
        OSError: The folder cannot be written to.
    """
    began = time.monotonic()
    state = _Run(tools, options, folder, tell)
    units: dict[str, Unit] = {}
    for job in jobs:
        units.setdefault(_build_name(job.unit), job.unit)
    with _until_interrupted(state.cancel), ThreadPoolExecutor(max(1, options.jobs)) as pool:
        designs = pool.map(lambda one: try_build(one.core, one.variant, tools), units.values())
        built = dict(zip(units, designs, strict=True))
        queue, waiting = JobQueue(options.expected), []
        for index, job in enumerate(jobs):
            there = built[_build_name(job.unit)]
            if isinstance(there, Build):
                waiting.append((Group.of(job, there), index, job))
            else:
                # Each of its tests is an error; it is told once, as they are of one kind.
                _record(state, index, JobResult(job, "error", f"not built: {there.cause}"))
        queue.add(waiting)
        if options.farm is not None:
            notes = _on_farm(state, queue, options.farm)
        else:
            workers = [pool.submit(_work, state, queue) for _ in range(max(1, options.jobs))]
            notes = [note for worker in workers for note in worker.result()]
        results = tuple(state.results[index] for index in range(len(jobs)))
        builds = [one for one in built.values() if isinstance(one, Build)]
        outcome = Outcome(
            results, sum(one.fresh for one in builds), sum(not one.fresh for one in builds), 0.0
        )
        if options.waves == "fail":
            outcome = _replay(state, outcome, built)
    return replace(
        outcome,
        seconds=time.monotonic() - began,
        notes=tuple(dict.fromkeys(notes)),
        coverage=state.coverage,
    )


@contextlib.contextmanager
def _until_interrupted(cancel: threading.Event) -> Iterator[None]:
    """Tell the workers when the person gives up, before they are waited for."""
    try:
        yield
    except BaseException:
        cancel.set()
        raise


def _build_name(unit: Unit) -> str:
    return f"{unit.core.name}\0{unit.variant.name}"


def _work(state: _Run, queue: JobQueue) -> list[str]:
    """Run jobs until there are none; return what is worth telling."""
    notes: list[str] = []
    engine = state.options.engine(state.tools, state.cancel)
    try:
        last: Group | None = None
        while not state.cancel.is_set():
            taken = queue.take(last)
            if taken is None:
                break
            last, index, job = taken
            task = _task(state, last, index, job)
            notes += _finish(state, index, task, engine.run(task))
    except Cancelled:
        pass
    finally:
        engine.close()
    return notes


def _on_farm(state: _Run, queue: JobQueue, make: FarmMaker) -> list[str]:
    """Run all jobs of ``queue`` on a farm; return what is worth telling."""
    from labctl.fpga.farms.collect import run_on_farm  # noqa: PLC0415 - most runs are run here

    notes: list[str] = []
    some = [
        [(index, _task(state, group, index, job)) for index, job in jobs]
        for group, jobs in queue.groups()
    ]
    tasks = {index: task for one in some for index, task in one}

    def ended(index: int, how: Ended) -> None:
        notes.extend(_finish(state, index, tasks[index], how))

    def renew(index: int) -> None:
        # Moved, not emptied: what was lost may still write into it.
        folder = tasks[index].folder
        folder.rename(folder.with_name(f"{folder.name}-lost-{time.monotonic_ns()}"))
        prepare(folder, tasks[index].job, tasks[index].build)

    place = state.folder / "farm"
    place.mkdir(mode=0o700)
    run_on_farm(make, state.tools, some, place, renew=renew, on_ended=ended, cancel=state.cancel)
    return notes


def _task(state: _Run, group: Group, index: int, job: Job) -> Task:
    """Return the task of a job, with its folder made."""
    folder = prepare(state.folder / f"{index + 1:05d}", job, group.build)
    waves = state.options.waves
    last = Last(state.options.last_s, state.shortest.get(job.unit.name))
    return Task(job, group.build, folder, waves == "always", last if waves == "fail" else None)


def _finish(state: _Run, index: int, task: Task, ended: Ended) -> list[str]:
    """Record what came of a task; return what is worth telling."""
    result = _result(state, task, ended)
    if result.fine and not state.options.keep and not task.waves:
        shutil.rmtree(task.folder, ignore_errors=True)
        result = replace(result, folder=None)
    _record(state, index, result)
    return [result.note] if result.note else []


def prepare(folder: Path, job: Job, build: Build) -> Path:
    """Make the working directory of a job."""
    folder.mkdir()
    beside = job.unit.core.beside
    if beside is not None:
        # Other people's designs read files by names relative to where make is called.
        for entry in os.scandir(beside):
            if entry.name not in _WRITTEN:
                (folder / entry.name).symlink_to(entry.path)
    data_files.link_into(folder, build.path.parent)
    return folder


def _result(state: _Run, task: Task, ended: Ended) -> JobResult:
    result = read_result(task.job, task.folder, ended)
    if state.tools.coverage:
        hits = collect(task, state.tools)
        with state.lock:
            state.coverage.add(task.job.name, hits)
    if task.waves:
        simulator = state.tools.of(task.job.unit.core)
        return replace(result, waves=simulator.waves(task.folder))
    return replace(result, waves=waves_of_last(result, task.folder))


def _record(state: _Run, index: int, result: JobResult) -> None:
    with state.lock:
        state.results[index] = result
        if result.waves and not result.fine:
            name, time_ns = result.job.unit.name, result.sim_ns
            state.shortest[name] = min(time_ns, state.shortest.get(name, time_ns))
        state.tell(result)


def _replay(state: _Run, outcome: Outcome, built: dict[str, Build | BuildError]) -> Outcome:
    """Run one failure of each kind that has no waves again with them, from the same build."""
    engine = ProcessEngine(state.tools, state.cancel)
    waves: dict[str, Path] = {}
    shortest = [some[0] for some in outcome.failures]
    chosen = [one for one in shortest if one.status == "failed" and not one.waves]
    for number, failed in enumerate(chosen[:MAX_REPLAYS], 1):
        job = failed.job
        there = built[_build_name(job.unit)]
        assert isinstance(there, Build)
        folder = prepare(state.folder / f"waves-{number}", job, there)
        task = Task(job, there, folder, waves=True)
        again = _result(state, task, engine.run(task))
        if again.waves:
            waves[job.name] = again.waves
    results = tuple(
        replace(one, waves=waves[one.job.name]) if one.job.name in waves else one
        for one in outcome.results
    )
    return replace(outcome, results=results)
