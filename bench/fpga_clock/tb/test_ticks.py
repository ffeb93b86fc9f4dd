"""How many rising edges a test can await in a second of processor time, for two kinds of clock."""

import time
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

EDGES = 30_000


async def edges(clk: Any, name: str) -> None:
    """Await edges, and print how many a second."""
    await RisingEdge(clk)
    began = time.process_time()
    for _ in range(EDGES):
        await RisingEdge(clk)
    print(f"{name}: {EDGES / (time.process_time() - began):.0f} edges a second")


@cocotb.test()
async def test_default(dut: Any) -> None:
    """The clock that people start without arguments."""
    Clock(dut.clk, 10, "ns").start()
    await edges(dut.clk, "default")


@cocotb.test()
async def test_gpi(dut: Any) -> None:
    """The clock that labctl's testbenches start."""
    Clock(dut.clk, 10, "ns", impl="gpi").start(start_high=False)
    await edges(dut.clk, "gpi")
