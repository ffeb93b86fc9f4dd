"""Groups of runs of ten seconds on a real Slurm and on Dask, beside the same runs here.

Six groups of 20 runs of half a second, two at a time. The runs wait and compute nothing, so that
what is measured is the way there and back, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from harness import Aim, Contender, Report, Say, argument_parser, interleave, run_bench

from fpga import timed
from labctl.errors import LabctlError
from labctl.vlab.slurm.cluster import Node, running, why_not

AIMS = {"Slurm / here": Aim(1.10), "Dask / here": Aim(1.10)}
DESIGN = Path(__file__).parent / "fpga_wait"
AT_A_TIME = 2
SEEDS = 120


def run(folder: Path, engine: str) -> float:
    """Run all on ``engine`` and see that all passed; return the seconds."""
    command = [
        sys.executable, "-m", "labctl", "fpga", "test", "-C", str(DESIGN), "--seeds", str(SEEDS),
        "--seed", "0", "-j", str(AT_A_TIME), "--engine", engine, "--json",
    ]  # fmt: skip
    seconds, said = timed(command, folder)
    if json.loads(said)["summary"]["passed"] != SEEDS:
        raise LabctlError(f"not all of {SEEDS} runs passed", thing=engine)
    return seconds


@contextlib.contextmanager
def slurm() -> Iterator[None]:
    """Let this process and what it starts speak with a Slurm of two nodes.

    Raises:
        LabctlError: It cannot run here.
    """
    reason = why_not()
    if reason:
        raise LabctlError(reason, thing="Slurm")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        with running(Path(name), [Node("n1"), Node("n2")]) as cluster:
            os.environ.update(cluster.environment)
            yield


def measure(options: argparse.Namespace, say: Say) -> Report:
    """Time all."""
    with slurm(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder, "fork")  # compiles
        times = interleave(
            [
                Contender("here", partial(run, folder, "fork")),
                Contender("Slurm", partial(run, folder, "slurm")),
                Contender("Dask", partial(run, folder, "dask")),
            ],
            options.runs,
            say,
        )
    floor = times["here"].median
    return Report(
        bench="fpga_engines",
        unit=f"s for {SEEDS} runs of 0.5 s, {AT_A_TIME} at a time",
        ours=times["Slurm"].median,
        floor=SEEDS * 0.5 / AT_A_TIME,
        peers={"here": floor, "Dask": times["Dask"].median},
        ratios={f"{name} / here": times[name].median / floor for name in ("Slurm", "Dask")},
        aims=AIMS,
        details={
            "at_a_time": AT_A_TIME,
            "load": [round(one, 1) for one in os.getloadavg()],
            "best": {name: round(several.best, 2) for name, several in times.items()},
        },
    )


def main() -> int:
    """Read the command line and run."""
    options = argument_parser(__doc__ or "", runs=2).parse_args()
    return run_bench(options, partial(measure, options))


if __name__ == "__main__":
    sys.exit(main())
