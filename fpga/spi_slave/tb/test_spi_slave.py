"""Tests of the SPI slave."""

import random

import cocotb
from cocotb.triggers import ClockCycles
from tb import CLOCK_PS, MIN_HALF, TB

from labctl.fpga.tb import Pace, by_seed


@cocotb.test()
@cocotb.parametrize(mode=range(4))
async def test_modes(dut, mode):
    """Words in both directions in each mode at the highest speed."""
    tb = TB(dut)
    tb.set_mode(mode, MIN_HALF * CLOCK_PS)
    await tb.start()
    tb.source.put(0x80, 0x01, 0xFE)
    await ClockCycles(dut.clk, 4)
    assert await tb.transfer([0x55, 0x0F]) == [0x80, 0x01]
    assert await tb.transfer([0xAA]) == [0xFE]
    await tb.settle()
    assert not any(tb.pulses.values())


@cocotb.test()
async def test_nothing_to_send(dut):
    """Ones go out, with a pulse for each word; a word that comes late is not lost."""
    tb = TB(dut)
    await tb.start()
    assert await tb.transfer([1, 2]) == [0xFF, 0xFF]
    assert tb.pulses["underrun"] == 2
    tb.source.put(0x3C)
    await ClockCycles(dut.clk, 4)
    assert await tb.transfer([3]) == [0x3C]
    await tb.settle()


@cocotb.test()
async def test_unread_word(dut):
    """A word that nobody took stays, the one after it is lost, with a pulse."""
    tb = TB(dut, Pace(1.0))
    await tb.start()
    await tb.transfer([0x11, 0x22])
    assert tb.pulses["overrun"] == 1
    tb.sink.pace = Pace(0.0)
    await ClockCycles(dut.clk, 8)
    assert tb.sink.words == [(0x11, 1)]


@cocotb.test()
async def test_the_clock_of_others(dut):
    """Edges of the serial clock while chip select is high mean nothing."""
    tb = TB(dut)
    await tb.start()
    for _ in range(9):
        for level in (1, 0):
            dut.sclk.value = level
            await ClockCycles(dut.clk, 8)
    await tb.transfer([0x42])
    await tb.settle()
    assert tb.pulses == {"overrun": 0, "underrun": 1, "cut": 0}


@cocotb.test()
async def test_random(dut):
    """Random modes, speeds, lengths, words that are not there and words cut short."""
    tb = TB(dut, Pace(0.5))
    await tb.start()
    given: list[int] = []
    cuts = 0
    for turn in range(3):
        shortest = MIN_HALF * CLOCK_PS
        half = random.choice((shortest, random.randint(shortest, 9**6)))
        tb.set_mode(by_seed(range(4), turn), half)
        await ClockCycles(dut.clk, 8)
        words = [
            random.choice((0, 255, random.randrange(256))) for _ in range(random.randint(1, 4))
        ]
        more = [random.randrange(255) for _ in range(random.randint(0, len(words)))]
        tb.source.put(*more)
        await ClockCycles(dut.clk, 4)
        bits = random.choice((8, 8, random.randint(1, 7)))
        got = await tb.transfer(words, bits)
        cuts += bits != 8
        # A word that was cut short is taken all the same: the master saw a part of it.
        want = (more + [255] * len(words))[: len(words)]
        assert got == want[: len(got)]
        for word in want:
            tb.coverage.hit("answer", "nothing there" if word == 255 else "word")
        given += more
    await tb.settle()
    assert tb.pulses["cut"] == cuts
    assert tb.pulses["overrun"] == 0
    assert [word for (word,) in tb.source.sent] == given
