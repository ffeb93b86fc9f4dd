"""Two hundred cycles of random stimulus against a model of one line."""

import random
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge


@cocotb.test()
async def test_register(dut: Any) -> None:
    """Compare it with the model in each cycle."""
    dut.rst.value, dut.en.value, dut.d.value = 1, 0, 0
    Clock(dut.clk, 10, "ns", impl="gpi").start(start_high=False)
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    model = 0
    for _ in range(200):
        enable, data = random.getrandbits(1), random.getrandbits(8)
        dut.en.value, dut.d.value = enable, data
        await FallingEdge(dut.clk)
        model = data if enable else model
        assert dut.q.value == model
