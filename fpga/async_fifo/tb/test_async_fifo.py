"""Tests of the asynchronous FIFO."""

import random

import cocotb
from cocotb.triggers import ClockCycles
from tb import TB

from labctl.fpga.tb import Pace, by_seed, until

# Periods in nanoseconds: equal, nearly equal (the phase drifts through), and far apart.
RATIOS = [(10, 10), (10, 10.01), (10.01, 10), (10, 37), (37, 10), (10, 3.1)]


@cocotb.test()
@cocotb.parametrize(periods=RATIOS)
async def test_full_speed(dut, periods):
    """Both sides as fast as they can: no word lost, doubled or changed."""
    tb = TB(dut, periods, Pace(0.0), Pace(0.0))
    await tb.start()
    tb.fill(150)
    slower = max(periods) / periods[1]
    await tb.drain(int(150 * 6 * slower) + 60)


@cocotb.test()
async def test_fills_and_holds(dut):
    """Nobody reads: it takes exactly its capacity, and no word is lost afterwards."""
    tb = TB(dut, (10, 7), Pace(0.0), Pace(1.0))
    await tb.start()
    tb.fill(tb.capacity + 5)
    await ClockCycles(dut.s_clk, tb.capacity + 30)
    assert len(tb.source.sent) == tb.capacity
    tb.sink.pace = Pace(0.0)
    await tb.drain(20 * tb.capacity + 100)


@cocotb.test()
async def test_random(dut):
    """Random periods, traffic and pauses; each third seed begins with a full FIFO."""
    # In steps of 2 ps: half a period is a whole number of picoseconds.
    periods = (random.randint(1500, 15000) / 500, random.randint(1500, 15000) / 500)
    tb = TB(dut, periods, Pace(), Pace())
    dut._log.info("periods %s ns", periods)
    await tb.start()
    slower = max(periods) / periods[1]
    if by_seed((True, False, False)):
        tb.sink.pace = Pace(1.0)
        tb.fill(tb.capacity)
        await until(dut.s_clk, lambda: tb.source.idle, 400, "a full FIFO", every=8)
        tb.sink.pace = Pace()
    tb.fill(40)
    await tb.drain(int(40 * 60 * slower) + 200)
