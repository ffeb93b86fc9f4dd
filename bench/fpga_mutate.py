"""Mutants of a FIFO: all in one build by one simulator start, beside a build and a start for each.

Both run the same mutants with the same tests in the same order, two at a time, until one fails.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from harness import Aim, Contender, Report, Say, argument_parser, interleave, run_bench

from labctl.errors import LabctlError
from labctl.fpga.build import build
from labctl.fpga.discovery import discover
from labctl.fpga.engines.base import Task
from labctl.fpga.engines.process import ProcessEngine
from labctl.fpga.model import Core, TestCase, Variant
from labctl.fpga.mutate.build import SELECTOR, mutated, select, with_selector
from labctl.fpga.mutate.score import score
from labctl.fpga.regression import prepare
from labctl.fpga.results import read_result
from labctl.fpga.selection import Job, Unit
from labctl.fpga.synth import design, programs, script
from labctl.fpga.synth.families import YOSYS
from labctl.fpga.synth.verilog import in_place_of, with_parameters
from labctl.fpga.toolchain import Toolchain

AIMS = {"a build each / ours": Aim(4.0, at_most=False)}
CORES = Path(__file__).parents[1] / "fpga"
AT_A_TIME = 2
SEED = 1
# Processor seconds of the runs, by contender; steadier than time where others use the machine.
_cpu: dict[str, list[float]] = {}


@contextmanager
def fresh_folders(name: str) -> Iterator[Path]:
    """Give an empty folder, with labctl's caches in it, and count processor time."""
    before = _used()
    with tempfile.TemporaryDirectory() as folder:
        for one in ("CACHE", "STATE", "CONFIG"):
            os.environ[f"XDG_{one}_HOME"] = str(Path(folder) / one.lower())
        yield Path(folder)
    _cpu.setdefault(name, []).append(_used() - before)


def _used() -> float:
    some = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in some)


def ours(core: Core, count: int) -> tuple[float, set[int]]:
    """Return the time of all mutants, and which survived."""
    with fresh_folders("ours") as folder:
        began = time.monotonic()
        done = score(
            core, core.variants[0], core.tests, yosys=programs.find(YOSYS), tools=Toolchain(),
            folder=folder, count=count, seed=SEED, jobs=AT_A_TIME,
        )  # fmt: skip
        seconds = time.monotonic() - began
    return seconds, {one.mutant.number for one in done.fates if one.status == "survived"}


def each(core: Core, count: int, order: Sequence[TestCase]) -> tuple[float, set[int]]:
    """Do the same with a netlist, a build and simulators of its own for each mutant."""
    tools, yosys = Toolchain(), programs.find(YOSYS)
    with fresh_folders("a build each") as folder:
        # What both need: the list of mutants. Its time is not counted here.
        _, _, mutants = mutated(core, core.variants[0], yosys, count=count, seed=SEED)
        (listed,) = folder.glob("cache/labctl/fpga/mutants/*/list")
        lines = listed.read_text().splitlines()
        began = time.monotonic()

        def survives(index: int) -> bool:
            own = folder / f"own{index}"
            own.mkdir()
            gates, baked = _alone(core, core.variants[0], yosys, own, lines[index])
            made = build(gates, baked, tools)
            engine = ProcessEngine(tools, threading.Event())
            for number, test in enumerate(order):
                job = Job(Unit(gates, baked, test), SEED)
                place = prepare(own / str(number), job, made)
                select(place, 1)
                if not read_result(job, place, engine.run(Task(job, made, place))).fine:
                    return False
            return True

        with ThreadPoolExecutor(AT_A_TIME) as pool:
            alive = list(pool.map(survives, range(len(lines))))
        seconds = time.monotonic() - began
    return seconds, {one.number for one, kept in zip(mutants, alive, strict=True) if kept}


def _alone(
    core: Core, variant: Variant, yosys: programs.Program, folder: Path, line: str
) -> tuple[Core, Variant]:
    """Return the core with one mutant, switched on as the only one of its netlist."""
    one = design.of(core, variant)
    only = re.sub(rf"-ctrl {SELECTOR} \d+ \d+", f"-ctrl {SELECTOR} 1 1", line)
    lines = [
        *script.reading(one), f"hierarchy -check -top {one.top}", "proc", "opt", "memory_collect",
        "opt_clean", only, f"delete -port {one.top}/w:{SELECTOR}",
        f"write_json {folder / 'net.json'}", f"write_verilog -noattr {folder / 'net.v'}",
    ]  # fmt: skip
    _, why = programs.run(yosys, ["-q", "-p", "\n".join(lines)], cwd=one.folder, deadline_s=300.0)
    if why:
        raise LabctlError(why, thing="yosys")
    text = with_selector((folder / "net.v").read_text(), one.top, 1)
    (folder / "net.v").write_text(with_parameters(text, one.top, folder / "net.json"))
    return in_place_of(core, variant, (folder / "net.v",))


def measure(options: argparse.Namespace, say: Say) -> Report:
    """Time both, and see that they come to the same."""
    core = next(one for one in discover(CORES).cores if one.name == options.core)
    order: list[TestCase] = list(core.tests)
    found: dict[str, set[int]] = {}

    def timed(name: str) -> float:
        how = ours(core, options.count) if name == "ours" else each(core, options.count, order)
        found[name] = how[1]
        return how[0]

    names = ("ours", "a build each")
    times = interleave([Contender(name, partial(timed, name)) for name in names], options.runs, say)
    if found["ours"] != found["a build each"]:
        raise LabctlError("they do not come to the same", thing=str(found))
    figure, other = times["ours"].median, times["a build each"].median
    cpu = {name: min(values) for name, values in _cpu.items()}
    return Report(
        bench="fpga_mutate",
        unit=f"s for {options.count} mutants",
        ours=figure,
        peers={"a build each": other},
        ratios={"a build each / ours": other / figure},
        aims=AIMS,
        details={
            "core": core.name,
            "survived": len(found["ours"]),
            "cpu_s": {name: round(value, 1) for name, value in cpu.items()},
            "load": [round(one, 1) for one in os.getloadavg()],
        },
    )


def main() -> int:
    """Read the command line and run."""
    parser = argument_parser((__doc__ or "").splitlines()[0], runs=3)
    parser.add_argument("--core", default="sync_fifo", help="core (default %(default)s)")
    parser.add_argument("--count", type=int, default=100, help="mutants (default %(default)s)")
    options = parser.parse_args()
    return run_bench(options, partial(measure, options))


if __name__ == "__main__":
    sys.exit(main())
