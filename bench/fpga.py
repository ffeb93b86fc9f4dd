"""Sixty seeds of one testbench, and a thousand, beside cocotb's runner called for each seed."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from harness import Aim, Contender, Report, Say, argument_parser, interleave, run_bench

from labctl.errors import LabctlError

AIMS = {"cocotb runner / ours": Aim(8.0, at_most=False), "1000 seeds, s": Aim(20.0)}
HERE = Path(__file__).parent
DESIGN = HERE / "fpga_design"
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
    figure = times["ours"].median
    peers = {name: taken.median for name, taken in times.items() if name != "ours"}
    return Report(
        bench="fpga",
        unit="s for 60 seeds",
        ours=figure,
        peers=peers,
        ratios={f"{name} / ours": value / figure for name, value in peers.items()}
        | {"1000 seeds, s": thousand},
        aims=AIMS,
        details={
            "at_a_time": AT_A_TIME,
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
