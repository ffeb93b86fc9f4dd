"""Run a testbench on mutants, and tell which of them it does not notice."""

from __future__ import annotations

import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from labctl.errors import LabctlError
from labctl.fpga.build import Build, build
from labctl.fpga.engines import engine_named
from labctl.fpga.engines.base import Engine, Task
from labctl.fpga.engines.watch import Cancelled
from labctl.fpga.model import Core, TestCase, Variant
from labctl.fpga.mutate.build import mutated, select
from labctl.fpga.mutate.mutants import Mutant
from labctl.fpga.regression import prepare
from labctl.fpga.results import JobResult, read_result
from labctl.fpga.selection import Job, Unit
from labctl.fpga.synth.programs import Program
from labctl.fpga.toolchain import Toolchain

# A mutant may take so many times what the core itself takes, and so many seconds at least: it is
# not to be called noticed because the machine is busy.
_TIMES, _LEAST_S = 20.0, 10.0
NOTICED, SURVIVED, HUNG, BROKEN = "noticed", "survived", "hung", "broken"


@dataclass
class Fate:
    """What became of a mutant.

    Attributes:
        mutant: The mutant.
        status: ``survived`` (every test passed), ``noticed`` (a test failed), ``hung`` (it did not
            end, which is noticed, too) or ``broken`` (the simulator itself failed).
        test: The test that noticed it, or in which it hung or broke.
        message: What that test said.
    """

    mutant: Mutant
    status: str = SURVIVED
    test: str = ""
    message: str = ""


@dataclass(frozen=True)
class Score:
    """What came of the mutants of one core.

    Attributes:
        core: Its name.
        variant: Its set of parameters.
        fates: One for each mutant.
        tests: The tests in the order in which they ran, with how many mutants each was the first
            to notice.
        runs: How many simulations there were.
        seconds: Time of all, the netlist included.
    """

    core: Core
    variant: Variant
    fates: tuple[Fate, ...]
    tests: tuple[tuple[str, int], ...] = field(default=())
    runs: int = 0
    seconds: float = 0.0

    def count(self, *statuses: str) -> int:
        """Return how many mutants have one of ``statuses``."""
        return sum(one.status in statuses for one in self.fates)

    @property
    def percent(self) -> float | None:
        """How many of those that could be judged were noticed; None where there are none."""
        judged = self.count(NOTICED, HUNG, SURVIVED)
        return 100.0 * self.count(NOTICED, HUNG) / judged if judged else None


def score(
    core: Core, variant: Variant, tests: Sequence[TestCase], *, yosys: Program, tools: Toolchain,
    folder: Path, count: int, seed: int, jobs: int,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Score:  # fmt: skip
    """Return which mutants of ``core`` the ``tests`` notice.

    Each mutant meets the tests in the order of how long they take, until one notices it.

    Args:
        core: The core.
        variant: The set of parameters.
        tests: Its tests.
        yosys: Makes the mutants.
        tools: The simulator.
        folder: A folder; what is made in it is removed again.
        count: How many mutants.
        seed: Which ones; that of the tests, too.
        jobs: How many simulations at a time.
        tell: Gets how many mutants are done, and how many there are.

    Raises:
        LabctlError: The core itself does not pass, or there are no mutants of it.
    """
    began = time.monotonic()
    gates, baked, mutants = mutated(core, variant, yosys, count=count, seed=seed)
    bench = _Bench(gates, baked, build(gates, baked, tools), folder / f"mutants-{core.name}", seed)
    cancel = threading.Event()
    engines = [engine_named("fork")(tools, cancel) for _ in range(max(1, jobs))]
    try:
        order, limits = _order(bench, engines[0], tests)
        fates = [Fate(one) for one in mutants]
        firsts = dict.fromkeys((test.label for test in order), 0)
        # One simulator serves the tests of one module, so the modules come one after the other.
        for module in dict.fromkeys(test.module for test in order):
            some = [test for test in order if test.module == module]
            left = [fate for fate in fates if fate.status == SURVIVED]
            _meet(bench, engines, left, some, limits, cancel, tell)
        for fate in fates:
            if fate.test:
                firsts[fate.test] += 1
    except BaseException:
        cancel.set()
        raise
    finally:
        for engine in engines:
            engine.close()
        bench.clear()
    seconds = time.monotonic() - began
    return Score(core, variant, tuple(fates), tuple(firsts.items()), bench.runs, seconds)


class _Bench:
    """Runs a test on a mutant; all mutants share a build."""

    def __init__(self, core: Core, variant: Variant, made: Build, folder: Path, seed: int) -> None:
        self.core = core
        self._variant, self._build = variant, made
        self._folder, self._seed = folder, seed
        self._lock = threading.Lock()
        self.runs = 0
        folder.mkdir()

    def run(self, engine: Engine, test: TestCase, number: int, limit_s: float) -> JobResult:
        """Return what came of ``test`` with the mutant ``number``; 0 is the core itself."""
        with self._lock:
            self.runs += 1
            folder = self._folder / str(self.runs)
        core = replace(self.core, timeout_s=limit_s)
        job = Job(Unit(core, self._variant, test), self._seed)
        try:
            prepare(folder, job, self._build)
            select(folder, number)
            return read_result(job, folder, engine.run(Task(job, self._build, folder)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def clear(self) -> None:
        """Remove what is left."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _order(
    bench: _Bench, engine: Engine, tests: Sequence[TestCase]
) -> tuple[list[TestCase], dict[str, float]]:
    """Return the tests that pass without a change, the quickest first, and how long each may take.

    Raises:
        LabctlError: One does not pass.
    """
    took: dict[str, float] = {}
    fine = []
    for test in tests:
        began = time.monotonic()
        result = bench.run(engine, test, 0, bench.core.timeout_s)
        if not result.fine:
            raise LabctlError(
                f"{test.label} does not pass on its netlist without a change: {result.message}",
                thing=bench.core.name,
                action="see 'labctl fpga test' and 'labctl fpga netlist --cells generic'",
            )
        if result.status == "passed":  # not one that is skipped
            fine.append(test)
            # Of the first one it is too much, with the start of the simulator in it.
            took[test.label] = time.monotonic() - began
    limits = {
        name: min(bench.core.timeout_s, max(_LEAST_S, _TIMES * one)) for name, one in took.items()
    }
    return sorted(fine, key=lambda test: took[test.label]), limits


def _meet(
    bench: _Bench, engines: Sequence[Engine], fates: Sequence[Fate], tests: Sequence[TestCase],
    limits: dict[str, float], cancel: threading.Event, tell: Callable[[int, int], None],
) -> None:  # fmt: skip
    """Run ``tests`` on the mutants of ``fates``, and write down what becomes of these."""
    waiting = deque(fates)  # safe to take from by several threads
    lock = threading.Lock()
    done = 0

    def work(engine: Engine) -> None:
        nonlocal done
        while not cancel.is_set():
            try:
                fate = waiting.popleft()
            except IndexError:
                return
            try:
                for test in tests:
                    result = bench.run(engine, test, fate.mutant.number, limits[test.label])
                    if _judge(fate, result):
                        break
            except Cancelled:
                return
            with lock:
                done += 1
                tell(done, len(fates))

    with ThreadPoolExecutor(len(engines)) as pool:
        try:
            for ended in [pool.submit(work, engine) for engine in engines]:
                ended.result()
        except BaseException:
            cancel.set()  # before the others are waited for
            raise


def _judge(fate: Fate, result: JobResult) -> bool:
    """Write down what ``result`` says of a mutant; tell whether that is the end of it."""
    status = {"failed": NOTICED, "hung": HUNG, "error": BROKEN}.get(result.status)
    if status is None:
        return False
    fate.status, fate.test = status, result.job.unit.test.label
    fate.message = result.message
    return True
