"""Tests of the UART core."""

import random

import cocotb
from cocotb.triggers import ClockCycles, Timer
from tb import TB

from labctl.fpga.tb import Pace, by_seed, until


@cocotb.test()
@cocotb.parametrize(
    (("divisor", "skew"), [(3, 0.0), (7, -0.02), (7, 0.02), (25, -0.02), (25, 0.02)])
)
async def test_both_ways(dut, divisor, skew):
    """Bytes in both directions at once; the far end's clock is off by up to two per cent."""
    tb = TB(dut, divisor, skew, Pace(0.0))
    await tb.start()
    tb.source.put(*tb.draw(20))
    tb.line_put(*tb.draw(20))
    await tb.settle(20)


@cocotb.test()
async def test_overrun(dut):
    """Nobody reads: the FIFO keeps the oldest bytes, each byte more is one pulse of `overrun`."""
    tb = TB(dut, 7, pace_out=Pace(1.0))
    await tb.start()
    data = [random.randrange(256) for _ in range(tb.capacity + 3)]
    tb.line_put(*data)
    limit = (len(data) + 5) * tb.bits_of_a_byte
    await until(dut.clk, lambda: len(tb.far_sent) == len(data), limit, "the far end", 8)
    await ClockCycles(dut.clk, 20)
    assert tb.pulses["overrun"] == 3
    assert dut.rx_level.value == tb.capacity
    tb.sink.pace = Pace(0.0)
    await until(dut.clk, lambda: len(tb.sink.words) == tb.capacity, 100, "the FIFO")
    await ClockCycles(dut.clk, 20)
    assert [word for (word,) in tb.sink.words] == data[: tb.capacity]


@cocotb.test()
async def test_low_stop_bit(dut):
    """A frame without a stop bit is an error and no byte; the frame after it is received."""
    tb = TB(dut, 7, pace_out=Pace(0.0))
    await tb.start()
    await tb.far_frame(0x5A, stop=0)
    await Timer(tb.bit_ns * 2, unit="ns")
    assert tb.pulses["frame_error"] == 1
    await tb.far_frame(0xA5)
    await ClockCycles(dut.clk, 20)
    assert tb.sink.words == [(0xA5,)]
    assert tb.pulses["frame_error"] == 1


@cocotb.test()
async def test_break(dut):
    """A line held low for long is one error, not a stream of zeros; then bytes go on."""
    tb = TB(dut, 7, pace_out=Pace(0.0))
    await tb.start()
    dut.rxd.value = 0
    await Timer(tb.bit_ns * 55, unit="ns")
    dut.rxd.value = 1
    await Timer(tb.bit_ns * 2, unit="ns")
    await tb.far_frame(0x42)
    await ClockCycles(dut.clk, 20)
    assert tb.sink.words == [(0x42,)]
    assert tb.pulses["frame_error"] == 1


@cocotb.test()
async def test_glitch_is_no_start_bit(dut):
    """A low pulse shorter than half a bit gives nothing and does not disturb the next byte."""
    tb = TB(dut, 19, pace_out=Pace(0.0))
    await tb.start()
    for cycles in (1, 2, 5, 8):
        dut.rxd.value = 0
        await ClockCycles(dut.clk, cycles)
        dut.rxd.value = 1
        await ClockCycles(dut.clk, 20)
        await tb.far_frame(cycles)
    await ClockCycles(dut.clk, 20)
    assert tb.sink.words == [(1,), (2,), (5,), (8,)]
    assert not tb.pulses["frame_error"]


@cocotb.test()
async def test_random(dut):
    """Random speeds, clock skew, gaps and pauses, both ways."""
    tb = TB(dut, 7, pace_out=Pace(0.0))
    await tb.start()
    tb.set_speed(random.randint(7, 14), by_seed((-0.02, 0.0, 0.02)))
    if by_seed((True, False)):
        # Let the receiving FIFO fill up to the brim, then read.
        tb.sink.pace = Pace(1.0)
        goal = len(tb.far_sent) + tb.capacity
        tb.line_put(*tb.draw(tb.capacity))
        limit = (tb.capacity + 5) * tb.bits_of_a_byte
        await until(dut.clk, lambda: len(tb.far_sent) == goal, limit, "the line", 8)
        await ClockCycles(dut.clk, 20)
        tb.sink.pace = Pace(0.0)
    count = tb.capacity + 3 if by_seed((False, True)) else 5
    tb.source.put(*tb.draw(count))
    tb.line_put(*tb.draw(count))
    await tb.settle(count)
