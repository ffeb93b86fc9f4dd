"""Tests of the AXI4-Lite register file."""

import random

import cocotb
from cocotb.triggers import ClockCycles
from tb import OKAY, SLVERR, TB

from labctl.fpga.tb import by_seed


@cocotb.test()
async def test_write_and_read_back(dut):
    """Each control word keeps its own value; each status word shows its input."""
    tb = TB(dut, paced=False)
    await tb.start()
    values = [random.getrandbits(32) for _ in range(tb.controls)]
    for word, value in enumerate(values):
        tb.write(word, value)
    await tb.settle()
    await ClockCycles(dut.clk, 1)
    status = list(tb.status)
    for word in range(tb.controls + tb.statuses):
        tb.read(word)
    await tb.settle()
    assert tb.r.words == [(OKAY, value) for value in values + status]


@cocotb.test()
async def test_errors_change_nothing(dut):
    """Status words and addresses behind them answer writes with SLVERR."""
    tb = TB(dut, paced=False)
    await tb.start()
    there = tb.controls + tb.statuses
    for word in (tb.controls, there - 1, there, tb.words - 1):
        tb.write(word, 0xFFFFFFFF)
    await tb.settle()
    assert tb.b.words == [(SLVERR,)] * 4
    assert dut.control.value == 0
    tb.read(there)
    tb.read(tb.words - 1)
    await tb.settle()
    assert tb.r.words == [(SLVERR, 0)] * 2


@cocotb.test()
async def test_full_speed(dut):
    """Reads go at one in each cycle, writes at one in two."""
    tb = TB(dut, paced=False)
    await tb.start()
    for _ in range(100):
        tb.read(0)
        tb.write(0, random.getrandbits(32))
    await ClockCycles(dut.clk, 110)
    assert len(tb.r.words) == 100
    await ClockCycles(dut.clk, 100)
    assert len(tb.b.words) == 100
    await tb.settle()


@cocotb.test()
async def test_random(dut):
    """Random requests with pauses on all five channels to one hot word and to all others."""
    tb = TB(dut)
    await tb.start()
    there = tb.controls + tb.statuses
    for turn in range(2):
        hot = by_seed(range(tb.controls), turn)
        for index in range(14):
            words = (hot, by_seed(range(there), 14 * turn + index), random.randrange(tb.words))
            tb.write(random.choice(words), random.getrandbits(32), random.randrange(16))
            tb.read(random.choice(words))
        await tb.settle()
        # `status` may change while no read is in flight.
        await ClockCycles(dut.clk, 1)
