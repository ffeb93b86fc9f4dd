"""Tests of the SPI master."""

import random

import cocotb
from cocotb.triggers import ClockCycles
from tb import TB

from labctl.fpga.tb import Pace, by_seed


@cocotb.test()
@cocotb.parametrize(mode=range(4), divisor=[0, 3])
async def test_modes(dut, mode, divisor):
    """Words in both directions in each mode, at the highest speed and a lower one."""
    tb = TB(dut)
    tb.set_mode(mode, divisor)
    await tb.start()
    tb.put([0x80])
    tb.put([0x01, 0xFE, 0x55])
    await tb.settle()


@cocotb.test()
async def test_unread_word_stops_the_clock(dut):
    """Nobody takes the received word: the transfer waits inside, and loses nothing."""
    tb = TB(dut, pace_out=Pace(1.0))
    await tb.start()
    tb.put([1, 2, 3])
    await ClockCycles(dut.clk, 300)
    assert len(tb.slave_sent) == 1
    assert dut.cs_n.value == 0
    tb.sink.pace = Pace(0.0)
    await tb.settle()


@cocotb.test()
async def test_random(dut):
    """Random speeds, lengths and pauses, in a mode for each seed."""
    tb = TB(dut, Pace(), Pace())
    await tb.start()
    for turn in range(2):
        tb.set_mode(by_seed(range(4), turn), by_seed((0, 1, random.randint(2, 6)), turn))
        # The idle level of the clock follows the mode while no transfer is in progress.
        await ClockCycles(dut.clk, 2 + 2 * (tb.divisor + 10))
        for _ in range(random.randint(1, 2)):
            length = random.choice((1, 2, random.randint(3, 4)))
            tb.put([random.choice((0, 255, random.randrange(256))) for _ in range(length)])
        await tb.settle()
