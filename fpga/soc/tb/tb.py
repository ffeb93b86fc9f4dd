"""Clock, reset, drivers and scoreboard of the state-of-charge estimator."""

import random

import numpy as np
from cocotb.triggers import RisingEdge
from golden import ROUNDING, Settings, step

from labctl.fpga.tb import Coverage, Pace, Sink, Source, assert_known, reset, start_clock, until


class TB:
    """One estimator, and beside it the same in float, from the same samples."""

    def __init__(self, dut, pace_in: Pace | None = None, pace_out: Pace | None = None):
        self.dut = dut
        start_clock(dut.clk)
        dut.cfg_write.value = dut.cfg_index.value = dut.cfg_data.value = 0
        self.source = Source(dut, dut.clk, "s", ("current", "voltage"), pace=pace_in)
        self.sink = Sink(dut, dut.clk, "m", ("charge",), pace=pace_out)
        self.settings: Settings | None = None
        self.model = 0.0
        self.worst = 0.0
        self.coverage = Coverage(
            "soc",
            segment=range(16),
            limit=("empty", "full"),
            current=("charging", "none", "discharging"),
            correction=("up", "down"),
        )

    async def start(self, settings: Settings, charge: int):
        """Reset, check for unknown values, write the settings, start drivers."""
        dut = self.dut
        await reset(dut.clk, dut.rst)
        assert_known(dut.s_ready, dut.m_valid, dut.m_charge)
        await self.configure(settings, charge)
        self.source.start()
        self.sink.start()

    async def configure(self, settings: Settings, charge: int):
        """Write all settings and the charge, in 2**-16 of full."""
        dut = self.dut
        words = [*settings.ocv, settings.k, settings.r, settings.correction, charge]
        for index in random.sample(range(21), 21):
            dut.cfg_write.value = 1
            dut.cfg_index.value = index
            dut.cfg_data.value = words[index]
            await RisingEdge(dut.clk)
        dut.cfg_write.value = 0
        await RisingEdge(dut.clk)
        self.settings, self.model = settings, charge / 65536

    async def sample(self, current: int, voltage: int) -> float:
        """One sample; returns the core's estimate, 0 to 1, after a check against the model."""
        settings = self.settings
        before = len(self.sink.words)
        self.source.put((current % 65536, voltage))
        done = lambda: len(self.sink.words) > before  # noqa: E731
        await until(self.dut.clk, done, 200, "the estimate")
        got = self.sink.words[-1][0] / 2**32
        was = self.model
        self.model = step(settings, was, current, voltage)
        # The model does not learn from the core, so an error of the core would add up.
        off = abs(got - self.model)
        self.worst = max(self.worst, off)
        bound = settings.bound(ROUNDING) + 2**-32
        assert off <= bound, f"{got:.7f}, the model says {self.model:.7f}, bound {bound:.7f}"
        self._cover(was, current, got)
        return got

    def _cover(self, was, current, got):
        self.coverage.hit("segment", min(int(got * 16), 15))
        if got == 0:
            self.coverage.hit("limit", "empty")
        if got == (2**32 - 1) / 2**32:
            self.coverage.hit("limit", "full")
        sign = "discharging" if current > 0 else "charging" if current else "none"
        self.coverage.hit("current", sign)
        corrected = self.model - (was - self.settings.k * current / 2**40)
        if corrected:
            self.coverage.hit("correction", "up" if corrected > 0 else "down")


def draw_settings() -> Settings:
    """A cell of chance: rising OCV, any capacity, resistance and gain for which it is stable."""
    steps = [random.randint(5, 250) for _ in range(16)]
    ocv = np.cumsum([random.randint(2000, 3000), *steps]).tolist()
    return Settings(ocv, random.randrange(65536), random.randrange(16384), random.randint(1, 60000))
