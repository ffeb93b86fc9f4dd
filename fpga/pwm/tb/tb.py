"""Clock, reset, a monitor that measures pulses, and the scoreboard of the PWM core."""

import random

import cocotb
from cocotb.triggers import RisingEdge

from labctl.fpga.tb import Coverage, assert_known, reset, start_clock, until


class TB:
    """One PWM core. The monitor holds every period against the settings at its beginning."""

    def __init__(self, dut):
        self.dut = dut
        self.width = int(dut.WIDTH.value)
        self.channels = int(dut.CHANNELS.value)
        self.periods: list[tuple[int, list[int]]] = []
        start_clock(dut.clk)
        dut.enable.value = 0
        self.set(0, [0] * self.channels)
        self.coverage = Coverage(
            f"pwm_{self.channels}x{self.width}",
            duty=("zero", "one", "part", "all_but_one", "all", "more"),
            period=("one", "short", "long"),
            change=("first_cycle", "middle", "last_cycle"),
            disabled=("middle",),
        )

    def set(self, period, duties):
        """Drive the settings."""
        self.dut.period.value = period
        self.dut.duty.value = sum(duty << (self.width * i) for i, duty in enumerate(duties))

    async def start(self):
        """Reset and check for unknown values; with `enable` low the outputs stay low."""
        dut = self.dut
        await reset(dut.clk, dut.rst)
        assert_known(dut.out, dut.start)
        for _ in range(5):
            await RisingEdge(dut.clk)
            assert dut.out.value == 0
            assert dut.start.value == 0
        cocotb.start_soon(self._watch())

    def _settings(self):
        duty, mask = int(self.dut.duty.value), (1 << self.width) - 1
        duties = [(duty >> (self.width * i)) & mask for i in range(self.channels)]
        return int(self.dut.period.value) + 1, duties

    async def _watch(self):
        """A cycle-exact model: the settings in the cycle before `start` rule a whole period."""
        dut = self.dut
        length, duties, position = 0, [0] * self.channels, 0
        enabled, wanted = False, self._settings()
        while True:
            await RisingEdge(dut.clk)
            if position < length:
                begins = False
            else:
                begins = enabled
                length, duties = wanted if begins else (0, duties)
                position = 0
            assert dut.start.value == begins
            levels = [int(begins or position < length) and duty > position for duty in duties]
            assert dut.out.value == sum(level << i for i, level in enumerate(levels))
            if begins:
                self.periods.append((length, duties))
                self._cover(length, duties)
            position += bool(length)
            before, wanted = wanted, self._settings()
            if length and before != wanted and length > 2:
                place = {1: "first_cycle", length: "last_cycle"}.get(position, "middle")
                self.coverage.hit("change", place)
            was, enabled = enabled, dut.enable.value == 1
            if was and not enabled and 1 < position < length:
                self.coverage.hit("disabled", "middle")

    def _cover(self, length, duties):
        self.coverage.hit("period", "one" if length == 1 else "short" if length < 8 else "long")
        for duty in duties:
            names = {0: "zero", length: "all"}
            if length > 2:
                names |= {1: "one", length - 1: "all_but_one"}
            self.coverage.hit("duty", names.get(duty, "more" if duty > length else "part"))

    def draw(self):
        """Random settings that like the borders."""
        top = (1 << self.width) - 1
        period = random.choice((0, random.randint(1, 6), random.randint(7, min(top, 60))))
        borders = (0, 1, period, period + 1, period + 2, random.randint(0, top))
        return period, [min(random.choice(borders), top) for _ in range(self.channels)]

    async def count(self, periods, cycles):
        """Wait for so many periods more."""
        goal = len(self.periods) + periods
        await until(self.dut.clk, lambda: len(self.periods) >= goal, cycles, "a period")
