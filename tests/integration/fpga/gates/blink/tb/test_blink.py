"""The LED is on for half of the time."""

import os

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge


async def begin(dut):
    dut.rst.value = 1
    Clock(dut.clk, 10, "ns", impl="gpi").start(start_high=False)
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0


@cocotb.test()
async def test_blinks(dut):
    width = int(dut.WIDTH.value)
    assert width == int(os.environ["PARAM_WIDTH"])
    await begin(dut)
    assert dut.led.value.is_resolvable, "led is unknown after reset"
    for count in range(3 * 2**width):
        assert dut.led.value == (count >> (width - 1)) % 2
        await FallingEdge(dut.clk)


@cocotb.test()
async def test_looks_at_nothing(dut):
    await begin(dut)
    for _ in range(5):
        await FallingEdge(dut.clk)
