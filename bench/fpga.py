"""Sixty seeds of one testbench, and a thousand, beside cocotb's runner called for each seed.

Then all of fpga/ with 20 seeds, whose coverage has to be closed, and the edges of a clock that a
testbench sees in a second, as testbenches of fpga/ start it and as cocotb does by default.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
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
    "edges / cocotb's default": Aim(4.0, at_most=False),
}
CORES = Path(__file__).parents[1] / "fpga"
CORE_SEEDS = 20
HERE = Path(__file__).parent
DESIGN = HERE / "fpga_design"
EDGES = HERE / "fpga_edges"
AT_A_TIME = 2
DEADLINE_S = 900.0


def timed(command: list[str], folder: Path) -> tuple[float, str]:
    """Run ``command`` with state folders below ``folder``; return seconds and what it printed.

    Raises:
        LabctlError: It failed.
    """
    own = {f"XDG_{one}_HOME": str(folder / one.lower()) for one in ("CACHE", "STATE", "CONFIG")}
    began = time.monotonic()
    done = subprocess.run(
        command, env={**os.environ, **own}, capture_output=True, text=True, timeout=DEADLINE_S,
        check=False,
    )  # fmt: skip
    seconds = time.monotonic() - began
    if done.returncode != 0:
        raise LabctlError((done.stderr or done.stdout)[-500:], thing=command[1])
    return seconds, done.stdout


def ours(seeds: int, engine: str) -> float:
    """Run ``seeds`` seeds from nothing, and see that all passed."""
    command = [
        sys.executable, "-m", "labctl", "fpga", "test", "-C", str(DESIGN), "--seeds", str(seeds),
        "--seed", "0", "-j", str(AT_A_TIME), "--engine", engine, "--json",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        seconds, said = timed(command, Path(name))
    if json.loads(said)["summary"]["passed"] != seeds:
        raise LabctlError(f"not all of {seeds} runs passed", thing="labctl fpga test")
    return seconds


def runner(seeds: int) -> float:
    """Do the same with cocotb's runner."""
    script = str(HERE / "peer_cocotb_runner.py")
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, script, str(DESIGN), name, str(seeds), str(AT_A_TIME)]
        seconds, said = timed(command, Path(name))
    if f"passed {seeds}" not in said:
        raise LabctlError(f"not all of {seeds} runs passed", thing="cocotb runner")
    return seconds


def labctl_test(project: Path, folder: Path, *words: str) -> tuple[float, dict[str, Any]]:
    """Run labctl fpga test on a project; return seconds and its document."""
    command = [
        sys.executable, "-m", "labctl", "fpga", "test", "-C", str(project), "-j", str(AT_A_TIME),
        "--json", "--keep", *words,
    ]  # fmt: skip
    seconds, said = timed(command, folder)
    return seconds, json.loads(said)


def all_cores() -> float:
    """Run every core of fpga/ with 20 seeds from nothing, and see that coverage is closed."""
    with tempfile.TemporaryDirectory() as name, patched(FOLDER_VARIABLE, "coverage"):
        words = ("--seeds", str(CORE_SEEDS), "--seed", "1")
        seconds, document = labctl_test(CORES, Path(name), *words)
        left: dict[str, list[Any]] = {}
        for job in document["jobs"]:
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


def edges() -> dict[str, float]:
    """Return edges per second of processor time, by kind of clock."""
    with tempfile.TemporaryDirectory() as name:
        _, document = labctl_test(EDGES, Path(name), "--engine", "process")
        path = Path(document["jobs"][0]["folder"], "edges.json")
        found: dict[str, float] = json.loads(path.read_text())
    return found


@contextlib.contextmanager
def patched(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment while the block runs."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def measure(options: argparse.Namespace, say: Say) -> Report:
    """Time everybody."""
    times = interleave(
        [
            Contender("ours", partial(ours, 60, "fork")),
            Contender("ours, a process each", partial(ours, 60, "process")),
            Contender("cocotb runner", partial(runner, 60)),
        ],
        options.runs,
        say,
    )
    thousand = ours(1000, "fork")
    say(f"  1000 seeds: {thousand:.3g}")
    cores = all_cores()
    say(f"  all cores, {CORE_SEEDS} seeds: {cores:.3g}")
    seen = edges()
    say(f"  edges a second: {seen['ours']:.3g}, cocotb's default {seen['default']:.3g}")
    figure = times["ours"].median
    peers = {name: taken.median for name, taken in times.items() if name != "ours"}
    return Report(
        bench="fpga",
        unit="s for 60 seeds",
        ours=figure,
        peers=peers,
        ratios={f"{name} / ours": value / figure for name, value in peers.items()}
        | {
            "1000 seeds, s": thousand,
            "all cores, 20 seeds, s": cores,
            "edges / cocotb's default": seen["ours"] / seen["default"],
        },
        aims=AIMS,
        details={
            "at_a_time": AT_A_TIME,
            "edges_a_second": {name: round(value) for name, value in seen.items()},
            "load": [round(one, 1) for one in os.getloadavg()],
            "best": {name: round(several.best, 2) for name, several in times.items()},
        },
    )


def main() -> int:
    """Read the command line and run."""
    options = argument_parser(__doc__ or "", runs=3).parse_args()
    return run_bench(options, partial(measure, options))


if __name__ == "__main__":
    sys.exit(main())
