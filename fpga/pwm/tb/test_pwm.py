"""Tests of the PWM core."""

import random

import cocotb
from cocotb.triggers import ClockCycles
from tb import TB


@cocotb.test()
async def test_borders(dut):
    """Duty 0 is always low, a duty above the period always high, one cycle is one cycle."""
    tb = TB(dut)
    await tb.start()
    dut.enable.value = 1
    for duty in (0, 1, 9, 10, 11):
        tb.set(9, [duty] * tb.channels)
        await tb.count(3, 100)
    assert tb.periods[-1] == (10, [11] * tb.channels)


@cocotb.test()
async def test_longest_period(dut):
    """The counter reaches its top and begins again."""
    tb = TB(dut)
    await tb.start()
    top = (1 << tb.width) - 1
    tb.set(top, [top] * tb.channels)
    dut.enable.value = 1
    await tb.count(3, 4 * (top + 1))
    assert tb.periods[-1] == (top + 1, [top] * tb.channels)


@cocotb.test()
async def test_random(dut):
    """Settings and `enable` change at any time; each period obeys those at its beginning."""
    tb = TB(dut)
    await tb.start()
    dut.enable.value = 1
    for _ in range(25):
        tb.set(*tb.draw())
        await ClockCycles(dut.clk, random.randint(1, 30))
        dut.enable.value = random.random() < 0.8
