"""Sixty seeds of one testbench, a thousand, and the first one, beside cocotb's runner and vvp.

Wall-clock times are what a person waits; on a machine that others use, too, processor seconds
(in ``details``) tell more.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness import Aim, Contender, Report, Say, argument_parser, interleave, run_bench

from labctl.errors import LabctlError
from labctl.fpga.tb.coverage import FOLDER_VARIABLE, merge

AIMS = {
    "cocotb runner / ours": Aim(8.0, at_most=False),
    "1000 seeds, s": Aim(20.0),
    "all cores, 20 seeds, s": Aim(60.0),
    "first test / bare vvp": Aim(1.1),
    "compiled by a repetition": Aim(0.0),
    "edges a second, gpi / default": Aim(4.0, at_most=False),
}
CORES = Path(__file__).parents[1] / "fpga"
CORE_SEEDS = 20
HERE = Path(__file__).parent
DESIGN, CLOCK = HERE / "fpga_design", HERE / "fpga_clock"
AT_A_TIME = 2
DEADLINE_S = 900.0


def timed(command: list[str], folder: Path, **more: str) -> tuple[float, str]:
    """Run ``command`` with state folders below ``folder``; return seconds and what it printed.

    Args:
        command: The program and its arguments.
        folder: For caches and state.
        more: Further variables.

    Raises:
        LabctlError: It failed.
    """
    own = {f"XDG_{one}_HOME": str(folder / one.lower()) for one in ("CACHE", "STATE", "CONFIG")}
    began = time.monotonic()
    done = subprocess.run(
        command, env={**os.environ, **own, **more}, capture_output=True, text=True,
        timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - began
    if done.returncode != 0:
        raise LabctlError((done.stderr or done.stdout)[-500:], thing=command[1])
    return seconds, done.stdout


@dataclass
class Meter:
    """Runs commands, and keeps the processor seconds of each kind."""

    cpu: dict[str, list[float]]

    def timed(self, kind: str, command: list[str], folder: Path, **more: str) -> tuple[float, str]:
        """Do the same, and keep its processor seconds under ``kind``."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = timed(command, folder, **more)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.cpu.setdefault(kind, []).append(used)
        return found

    def labctl(
        self, kind: str, folder: Path, seeds: int, *more: str, design: Path = DESIGN
    ) -> tuple[float, dict[str, Any]]:
        """Run ``seeds`` seeds, and see that all passed."""
        command = [
            sys.executable, "-m", "labctl", "fpga", "test", "-C", str(design), "--seeds",
            str(seeds), "--seed", "0", "-j", str(AT_A_TIME), "--json", *more,
        ]  # fmt: skip
        seconds, said = self.timed(kind, command, folder)
        data: dict[str, Any] = json.loads(said)
        if data["summary"]["passed"] != len(data["jobs"]):
            raise LabctlError(f"not all of {seeds} seeds passed", thing="labctl fpga test")
        return seconds, data

    def ours(self, seeds: int, engine: str) -> float:
        """Run ``seeds`` seeds from nothing."""
        with tempfile.TemporaryDirectory() as name:
            kind = f"{seeds} seeds, {engine}"
            return self.labctl(kind, Path(name), seeds, "--engine", engine)[0]

    def runner(self, seeds: int) -> float:
        """Do the same with cocotb's runner."""
        script = str(HERE / "peer_cocotb_runner.py")
        with tempfile.TemporaryDirectory() as name:
            command = [sys.executable, script, str(DESIGN), name, str(seeds), str(AT_A_TIME)]
            seconds, said = self.timed(f"{seeds} seeds, runner", command, Path(name))
        if f"passed {seeds}" not in said:
            raise LabctlError(f"not all of {seeds} runs passed", thing="cocotb runner")
        return seconds


def bare(meter: Meter, folder: Path, simulation: Path) -> float:
    """Run one test by vvp itself, with what cocotb's Makefile would give it, and no more."""
    import find_libpython  # a part of cocotb
    from cocotb_tools import config

    variables = {
        "PYTHONPATH": str(DESIGN / "tb"),
        "PYGPI_PYTHON_BIN": sys.executable,
        "GPI_USERS": f"{find_libpython.find_libpython()};{config.pygpi_entry_point()}",
        "COCOTB_TOPLEVEL": "register",
        "COCOTB_TEST_MODULES": "test_register",
        "COCOTB_RANDOM_SEED": "0",
        "COCOTB_RESULTS_FILE": str(folder / "results.xml"),
        "TOPLEVEL_LANG": "verilog",
    }
    library = str(config.lib_entry("vpi", "icarus"))
    command = ["vvp", "-n", "-m", library, str(simulation), "-none"]
    seconds, said = meter.timed("first test, vvp", command, folder, **variables)
    if "PASS=1" not in said:
        raise LabctlError("it did not pass", thing="vvp")
    return seconds


def first(meter: Meter, rounds: int, say: Say) -> dict[str, float]:
    """Compare the first test of a day, its design compiled before, with bare vvp."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        meter.labctl("to compile", folder, 1)
        (simulation,) = (folder / "cache").rglob("sim.vvp")
        _, again = meter.labctl("again", folder, 1)
        times = interleave(
            [
                Contender("first test", lambda: meter.labctl("first test, ours", folder, 1)[0]),
                Contender("bare vvp", partial(bare, meter, folder, simulation)),
            ],
            rounds,
            say,
        )
    return {
        "first test / bare vvp": times["first test"].median / times["bare vvp"].median,
        "compiled by a repetition": float(again["compiled"]),
    }


def all_cores(meter: Meter) -> float:
    """Run every core of fpga/ with 20 seeds from nothing, and see that coverage is closed."""
    command = [
        sys.executable, "-m", "labctl", "fpga", "test", "-C", str(CORES), "--seeds",
        str(CORE_SEEDS), "--seed", "1", "-j", str(AT_A_TIME), "--json", "--keep",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        seconds, said = meter.timed(
            "all cores", command, Path(name), **{FOLDER_VARIABLE: "coverage"}
        )
        left: dict[str, list[Any]] = {}
        for job in json.loads(said)["jobs"]:
            for path in Path(job["folder"], "coverage").glob("*.json"):
                left.setdefault(path.stem, []).append(json.loads(path.read_text()))
    missing = [
        f"{core}: {point}={one}"
        for core, several in left.items()
        for point, bins in merge(several).items()
        for one, count in bins.items()
        if not count
    ]
    if missing or not left:
        raise LabctlError(f"not closed: {', '.join(missing)}", thing="coverage of fpga/")
    return seconds


def edges(meter: Meter) -> dict[str, float]:
    """Return the rising edges in a second of processor time that a test can await, by clock."""
    with tempfile.TemporaryDirectory() as name:
        _, data = meter.labctl("edges", Path(name), 1, "--keep", design=CLOCK)
        logs = "".join(Path(job["folder"], "log.txt").read_text() for job in data["jobs"])
    found = re.findall(r"^(default|gpi): (\d+) edges", logs, re.MULTILINE)
    return {kind: float(count) for kind, count in found}


def measure(options: argparse.Namespace, say: Say) -> Report:
    """Time everybody."""
    meter = Meter({})
    times = interleave(
        [
            Contender("ours", partial(meter.ours, 60, "fork")),
            Contender("ours, a process each", partial(meter.ours, 60, "process")),
            Contender("cocotb runner", partial(meter.runner, 60)),
        ],
        options.runs,
        say,
    )
    thousand = meter.ours(1000, "fork")
    say(f"  1000 seeds: {thousand:.3g}")
    cores = all_cores(meter)
    say(f"  all cores, {CORE_SEEDS} seeds: {cores:.3g}")
    start = first(meter, 2 * options.runs + 1, say)
    clocks = edges(meter)
    figure = times["ours"].median
    peers = {name: taken.median for name, taken in times.items() if name != "ours"}
    return Report(
        bench="fpga",
        unit="s for 60 seeds",
        ours=figure,
        peers=peers,
        ratios={f"{name} / ours": value / figure for name, value in peers.items()}
        | {"1000 seeds, s": thousand, "all cores, 20 seeds, s": cores, **start}
        | {"edges a second, gpi / default": clocks["gpi"] / clocks["default"]},
        aims=AIMS,
        details={
            "at_a_time": AT_A_TIME,
            "load": [round(one, 1) for one in os.getloadavg()],
            "best": {name: round(several.best, 2) for name, several in times.items()},
            "cpu_s": {kind: round(statistics.median(some), 2) for kind, some in meter.cpu.items()},
            "edges_a_second": {kind: round(rate) for kind, rate in clocks.items()},
        },
    )


def main() -> int:
    """Read the command line and run."""
    options = argument_parser(__doc__ or "", runs=3).parse_args()
    return run_bench(options, partial(measure, options))


if __name__ == "__main__":
    sys.exit(main())
