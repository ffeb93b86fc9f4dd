"""Tests of the I2C master."""

import random

import cocotb
from cocotb.triggers import ClockCycles
from tb import ADDRESS, TB

from labctl.fpga.tb import by_seed, until


@cocotb.test()
async def test_write_and_read_back(dut):
    """A write, then a read after a repeated START; SCL keeps its times."""
    tb = TB(dut)
    await tb.start()
    data = random.randbytes(3)
    await tb.write(0x10, data)
    await tb.write(0x10, b"", stop=0)
    assert dut.owner.value == 1
    assert await tb.read(3, again=True) == data
    tb.check_times()
    await ClockCycles(dut.clk, 20)
    assert (dut.owner.value, dut.busy.value) == (0, 0)


@cocotb.test()
async def test_nobody_there(dut):
    """An address that nobody has is not acknowledged; STOP by itself frees the bus."""
    tb = TB(dut)
    await tb.start()
    assert (await tb.command(start=1, data=0x23 << 1))[1:] == (1, 0)
    assert dut.owner.value == 1
    assert (await tb.command(stop=1))[2] == 0
    await ClockCycles(dut.clk, 8)
    assert tb.record.said == ["S", (0x46, 1), "P"]
    assert dut.busy.value == 0
    # Without START there is no bus to say anything on.
    assert (await tb.command(data=1))[2] == 1
    assert (await tb.command(stop=1))[2] == 1
    assert tb.record.said == ["S", (0x46, 1), "P"]


@cocotb.test()
async def test_arbitration(dut):
    """Two masters begin together: the one with the lower byte goes on, undisturbed."""
    tb = TB(dut)
    await tb.start()
    for mine, theirs in ((0x31, 0x34), (0x34, 0x31), (0xFF, 0x00), (0x70, 0x71)):
        begin = len(tb.record.said)
        other = tb.other()
        task = cocotb.start_soon(other.send(theirs))
        _, _, lost = await tb.command(start=1, data=mine, stop=1)
        await until(dut.clk, task.done, 3000, "the other master", every=8)
        await until(dut.clk, lambda: dut.busy.value == 0, 3000, "a free bus", every=8)
        assert (lost, other.won) == (int(theirs < mine), theirs < mine)
        assert dut.owner.value == 0
        assert tb.record.said[begin:] == ["S", (min(mine, theirs), 1), "P"]


@cocotb.test()
async def test_a_bus_that_is_held(dut):
    """SCL that stays low, and a bus on which nobody says STOP, are given up; then it works."""
    tb = TB(dut)
    await tb.start()
    tb.bus.set("somebody", 0, 1)
    assert (await tb.command(start=1, data=ADDRESS << 1))[2] == 1
    tb.bus.set("somebody", 1, 1)
    await tb.write(1, b"ok")
    tb.bus.set("somebody", 1, 0)
    await ClockCycles(dut.clk, 8)
    assert dut.busy.value == 1
    assert (await tb.command(start=1, data=ADDRESS << 1))[2] == 1
    tb.bus.set("somebody", 1, 1)
    # A slave that stretches for ever, in the middle of a byte.
    tb.stretch = 1.0
    tb.slave.hold = lambda: 10**9 if len(tb.slave._bits) == 3 else 0
    assert (await tb.command(start=1, data=ADDRESS << 1))[2] == 1
    assert (dut.scl_o.value, dut.sda_o.value, dut.owner.value) == (1, 1, 0)


@cocotb.test()
async def test_random(dut):
    """Random writes and reads, refusals, stretching and other masters."""
    tb = TB(dut, random.choice((3, 4, random.randint(5, 12))))
    await tb.start()
    kind = by_seed(range(5))
    tb.stretch = random.choice((0.0, 0.3))
    pointer = random.randrange(256)
    data = random.randbytes(random.choice((1, 2)))
    await tb.write(pointer, data)
    stop = random.randrange(2)
    await tb.write(pointer, b"", stop=stop)
    await tb.read(random.choice((1, 2)), again=not stop)
    tb.check_times()
    if kind == 0:
        assert (await tb.command(start=1, data=0x23 << 1, stop=1))[1:] == (1, 0)
        tb.coverage.hit("answer", "address refused")
    elif kind == 1:
        tb.slave.refuse_at = random.randint(1, 3)
        for n, byte in enumerate((ADDRESS << 1, pointer, 1, 2, 3)[: tb.slave.refuse_at + 2]):
            refused = n == tb.slave.refuse_at + 1
            answer = await tb.command(start=int(n == 0), data=byte, stop=int(refused))
            assert answer[1:] == (int(refused), 0)
        tb.slave.refuse_at = None
        tb.coverage.hit("answer", "data refused")
    else:
        tb.stretch = 0.0
        mine, theirs = random.sample([one for one in range(256) if one >> 1 != ADDRESS], 2)
        other = tb.other()
        task = cocotb.start_soon(other.send(theirs))
        _, _, lost = await tb.command(start=1, data=mine, stop=1)
        await until(dut.clk, task.done, 6000, "the other master", every=8)
        assert lost == other.won == (theirs < mine)
        tb.coverage.hit("arbitration", "lost" if lost else "won")
        # The other's low times are its own.
        tb.record.shortest = {0: float("inf"), 1: float("inf")}
    await until(dut.clk, lambda: dut.busy.value == 0, 6000, "a free bus", every=8)
