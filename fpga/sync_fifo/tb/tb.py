"""Clock, reset, drivers, monitors and scoreboard of the synchronous FIFO."""

import random

import cocotb
from cocotb.triggers import RisingEdge

from labctl.fpga.tb import Coverage, Pace, Sink, Source, assert_known, reset, start_clock, until


class TB:
    """One FIFO; `check` compares what came out with what went in."""

    def __init__(self, dut, pace_in: Pace | None = None, pace_out: Pace | None = None):
        self.dut = dut
        self.width = int(dut.DATA_WIDTH.value)
        self.capacity = 2 ** int(dut.ADDR_WIDTH.value) + 1
        start_clock(dut.clk)
        self.source = Source(dut, dut.clk, "s", pace=pace_in)
        self.sink = Sink(dut, dut.clk, "m", pace=pace_out)
        self.coverage = Coverage(
            f"sync_fifo_{self.width}x{self.capacity}",
            level=range(self.capacity + 1),
            move=("none", "in", "out", "both"),
            full=("refused", "drained"),
        )
        self.peak = 0

    async def start(self):
        """Reset, check for unknown values, start drivers and monitors."""
        await reset(self.dut.clk, self.dut.rst)
        assert_known(self.dut.s_ready, self.dut.m_valid, self.dut.level)
        assert self.dut.level.value == 0
        assert self.dut.s_ready.value == 1
        self.source.start()
        self.sink.start()
        cocotb.start_soon(self._watch())

    def fill(self, count):
        """Queue random words."""
        self.source.put(*(random.getrandbits(self.width) for _ in range(count)))

    async def _watch(self):
        """Hold the level against a count of its own, on every edge; collect coverage."""
        dut, level = self.dut, 0
        while True:
            await RisingEdge(dut.clk)
            assert dut.level.value == level, f"level {dut.level.value}, {level} words are inside"
            taken = dut.s_valid.value == 1 and dut.s_ready.value == 1
            given = dut.m_valid.value == 1 and dut.m_ready.value == 1
            self.coverage.hit("level", level)
            self.coverage.hit("move", ("none", "in", "out", "both")[taken + 2 * given])
            if level == self.capacity:
                if dut.s_valid.value == 1 and not taken:
                    self.coverage.hit("full", "refused")
                if given:
                    self.coverage.hit("full", "drained")
            level += taken - given
            self.peak = max(self.peak, level)

    async def drain(self, cycles):
        """Wait until every word went through, then compare."""
        done = lambda: self.source.idle and len(self.sink.words) == len(self.source.sent)  # noqa: E731
        await until(self.dut.clk, done, cycles, "the last word")
        assert self.sink.words == self.source.sent
