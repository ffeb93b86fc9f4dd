"""Runs that wait for a file, so that something can happen while they are under way."""

import os
import time
from pathlib import Path

import cocotb


@cocotb.test()
async def test_waits(dut):
    folder = Path(os.environ["HELD_FOLDER"])
    with (folder / "seen").open("a") as seen:
        # O_APPEND: a line of each run is whole, whoever else writes.
        seen.write(f"{os.environ.get('SLURMD_NODENAME', '-')} {os.getpid()}\n")
    while not (folder / "go").exists():
        time.sleep(0.02)
