"""Tests of the FIR filter."""

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge
from tb import TB

from labctl.fpga.tb import Pace, by_seed


@cocotb.test()
async def test_impulse(dut):
    """The answer to an impulse is the coefficients in their order, then zeros."""
    tb = TB(dut)
    await tb.start(list(range(1, tb.taps + 1)))
    tb.put(1, *[0] * tb.taps)
    assert await tb.results() == [*range(1, tb.taps + 1), 0]


@cocotb.test()
async def test_latency(dut):
    """With a full ring the result shows TAPS + 2 edges after the one that took the sample."""
    tb = TB(dut)
    await tb.start([1] * tb.taps)
    tb.put(*[1] * tb.taps)
    await tb.results()
    tb.put(1)
    await RisingEdge(dut.s_valid)
    await ClockCycles(dut.clk, 1)
    for edge in range(tb.taps + 3):
        await RisingEdge(dut.clk)
        assert dut.m_valid.value == (edge == tb.taps + 2), f"edge {edge}"


@cocotb.test()
async def test_largest_sum(dut):
    """The lowest values in all places give the largest sum, and it does not overflow."""
    tb = TB(dut)
    low, coef = -(1 << (tb.bits - 1)), -(1 << (tb.coef_bits - 1))
    await tb.start([coef] * tb.taps)
    tb.put(*[low] * (tb.taps + 2))
    assert (await tb.results())[-1] == tb.taps * low * coef


@cocotb.test()
async def test_random(dut):
    """Random coefficients, samples and pauses."""
    tb = TB(dut, Pace(), Pace())
    await tb.start([tb.draw(tb.coef_bits) for _ in range(tb.taps)])
    for turn in range(2):
        since = len(tb.samples)
        tb.put(*(tb.draw(tb.bits) for _ in range(tb.taps + 4)))
        await tb.check(since)
        silent = by_seed((True, False, False, False), turn)
        await tb.load([0 if silent else tb.draw(tb.coef_bits) for _ in range(tb.taps)])
