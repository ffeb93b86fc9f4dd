"""Tests of the state-of-charge estimator."""

import random

import cocotb
import numpy as np
from golden import ROUNDING, Settings
from tb import TB, draw_settings

from labctl.fpga.tb import Pace, by_seed, until

# The open-circuit voltage of a lithium-ion cell (NMC), in mV, from empty to full.
NMC = [3000, 3349, 3434, 3495, 3536, 3565, 3589, 3614, 3645, 3688, 3743, 3806, 3873, 3942, 4014]
NMC += [4092, 4180]


@cocotb.test()
async def test_counting_is_exact(dut):
    """Without a correction the charge is the sum of what flowed, to the last bit."""
    tb = TB(dut)
    k = random.randint(1, 65535)
    await tb.start(Settings(NMC, k, 0, 0), 0x8000)
    charge = 1 << 39
    for _ in range(60):
        current = random.randint(-30000, 30000)
        charge = min(max(charge - k * current, 0), (1 << 40) - 1)
        tb.source.put((current % 65536, 3700))
    await until(dut.clk, lambda: len(tb.sink.words) == 60, 1000, "the estimates")
    assert tb.sink.words[-1] == (charge >> 8,)


@cocotb.test()
async def test_finds_the_charge_of_a_cell(dut):
    """A wrong start, noise, an offset of the current, a wrong R: within the bound of all these."""
    tb = TB(dut)
    # 3 Ah at one sample in 0.1 s: 1 mA is 0.1 / (3000 * 3600) of full.
    settings = Settings(NMC, round(2**40 * 0.1 / (3000 * 3600)), 1966, 20000)
    await tb.start(settings, random.choice((0x0800, 0xF800)))
    ohm, offset, noise, top = settings.ohm * 1.1, 5, 2.0, 3000
    # mV: noise, rounding of the voltmeter, of the core; R wrong by 0.1 of it, and not the same
    # current in both; then what an offset of the current adds in each sample, seen as a voltage.
    disturbance = noise + 0.5 + ROUNDING + 0.1 * settings.ohm * top
    disturbance += settings.ohm * 1.1 * (offset + 0.5)
    disturbance += settings.k * (offset + 0.5) / 2**40 / settings.gain
    bound = settings.bound(disturbance)
    truth, current = random.uniform(0.3, 0.7), 0.0
    low, _ = settings.slopes()
    for n in range(600):
        if n % 50 == 0:
            current = random.uniform(-top, top)
        truth = float(np.clip(truth - settings.k * current / 2**40, 0, 1))
        volts = settings.voltage(truth) - ohm * current + random.uniform(-noise, noise)
        got = await tb.sample(round(current + offset), round(volts))
        # What is left of the wrong start shrinks by the lowest slope's share in each sample.
        left = (1 - settings.gain * low) ** (n + 1)
        assert abs(got - truth) <= bound + left
    dut._log.info("bound %.4f, farthest from the float model %.7f", bound, tb.worst)
    assert bound < 0.05


@cocotb.test()
async def test_random(dut):
    """Cells of chance, any current and voltage, pauses: never farther from float than the bound."""
    tb = TB(dut, Pace(), Pace(0.3))
    await tb.start(draw_settings(), random.randrange(65536))
    for turn in range(2):
        aim = by_seed([i / 20 for i in range(21)], turn * 10)
        for _ in range(10):
            voltage = tb.settings.voltage(aim) + random.uniform(-300, 300)
            await tb.sample(random.choice((0, random.randint(-30000, 30000))), round(voltage))
        await tb.configure(draw_settings(), by_seed((0, 65535, random.randrange(65536)), turn))
