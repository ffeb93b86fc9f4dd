"""Tests of the synchronous FIFO."""

import cocotb
from cocotb.triggers import ClockCycles
from tb import TB

from labctl.fpga.tb import Pace, reset, until


@cocotb.test()
async def test_full_speed(dut):
    """One word in each cycle, in and out, with no pause."""
    tb = TB(dut, Pace(0.0), Pace(0.0))
    await tb.start()
    tb.fill(200)
    await tb.drain(200 + 10)


@cocotb.test()
async def test_fills_and_holds(dut):
    """Nobody reads: it takes exactly its capacity, and no word is lost afterwards."""
    tb = TB(dut, Pace(0.0), Pace(1.0))
    await tb.start()
    tb.fill(tb.capacity + 5)
    await ClockCycles(dut.clk, tb.capacity + 20)
    assert len(tb.source.sent) == tb.capacity
    tb.sink.pace = Pace(0.0)
    await tb.drain(4 * tb.capacity + 40)


@cocotb.test()
async def test_reset_empties(dut):
    """A reset with words inside: level 0, nothing valid, and no old word comes out later."""
    tb = TB(dut, Pace(0.0), Pace(1.0))
    await reset(dut.clk, dut.rst)
    source = tb.source.start()
    source.put(1, 1)
    await until(dut.clk, lambda: len(source.sent) == 2, 20, "two words")
    await reset(dut.clk, dut.rst)
    assert dut.level.value == 0
    assert dut.m_valid.value == 0
    sink = tb.sink
    sink.pace = Pace(0.0)
    sink.start()
    source.put(0, 2, 3)
    await until(dut.clk, lambda: len(sink.words) == 3, 30, "three words")
    assert sink.words == [(0,), (2,), (3,)]


@cocotb.test()
async def test_random(dut):
    """Random traffic and pauses."""
    tb = TB(dut, Pace(), Pace())
    await tb.start()
    tb.fill(80)
    await tb.drain(80 * 60)
