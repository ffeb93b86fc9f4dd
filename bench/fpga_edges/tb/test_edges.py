"""Edges per second of processor time: cocotb's clock as it is by default, and as ours start it."""

import json
import time
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from labctl.fpga.tb import start_clock

EDGES = 30_000


@cocotb.test()
async def test_edges(dut: Any) -> None:
    """Measure both in turns, so that what else the machine does meets both."""
    taken = {"default": 0.0, "ours": 0.0}
    for _ in range(3):
        for name in taken:
            clock = Clock(dut.clk, 10, "ns") if name == "default" else start_clock(dut.clk)
            if name == "default":
                clock.start()
            await RisingEdge(dut.clk)
            before, began = int(dut.count.value), time.process_time()
            for _ in range(EDGES):
                await RisingEdge(dut.clk)
            taken[name] += time.process_time() - began
            assert (int(dut.count.value) - before) % 256 == EDGES % 256
            clock.stop()
    Path("edges.json").write_text(
        json.dumps({name: 3 * EDGES / seconds for name, seconds in taken.items()})
    )
