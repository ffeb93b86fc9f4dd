"""What people write today: cocotb's own runner, called once for each seed, some at a time.

Run by bench/fpga.py: peer_cocotb_runner.py DESIGN FOLDER SEEDS AT_A_TIME
"""

from __future__ import annotations

import contextlib
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import Runner, get_runner


def build(design: Path, folder: Path) -> Runner:
    """Build the design where it is not built yet."""
    runner = get_runner("icarus")
    runner.build(
        sources=[design / "rtl/register.v"],
        hdl_toplevel="register",
        build_dir=folder / "build",
        timescale=("1ns", "1ps"),
        log_file=folder / f"build-{os.getpid()}.log",
    )
    return runner


def one(design: Path, folder: Path, seed: int) -> int:
    """Run one seed; return how many tests passed."""
    runner = build(design, folder)  # found up to date, and needed by the runner all the same
    place = folder / f"run-{seed}"
    place.mkdir()
    sys.path.insert(0, str(design / "tb"))
    with (place / "log.txt").open("w") as log, contextlib.redirect_stdout(log):
        results = runner.test(
            hdl_toplevel="register",
            test_module="test_register",
            build_dir=folder / "build",
            test_dir=place,
            seed=seed,
            log_file=place / "sim.log",
            extra_env={"COCOTB_ANSI_OUTPUT": "0"},
        )
    tests, failed = get_results(results)
    return tests - failed


def main() -> int:
    """Build once, run all seeds, and print how many tests passed."""
    design, folder, seeds, at_a_time = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
    build(design, folder)
    with ProcessPoolExecutor(at_a_time) as pool:
        passed = sum(pool.map(partial(one, design, folder), range(seeds)))
    sys.stdout.write(f"passed {passed}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
