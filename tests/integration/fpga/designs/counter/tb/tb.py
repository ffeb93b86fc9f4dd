"""Clock and reset of the counter."""

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge


async def begin(dut):
    dut.rst.value, dut.en.value = 1, 0
    Clock(dut.clk, 10, "ns", impl="gpi").start(start_high=False)
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
