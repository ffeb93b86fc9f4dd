"""Two clocks, two resets, drivers, monitors and scoreboard of the asynchronous FIFO."""

import random

import cocotb
from cocotb.triggers import ClockCycles, Combine, FallingEdge, RisingEdge, Timer

from labctl.fpga.tb import Coverage, Pace, Sink, Source, assert_known, reset, start_clock, until


class TB:
    """One FIFO between clocks of two periods in nanoseconds."""

    def __init__(self, dut, periods, pace_in: Pace | None = None, pace_out: Pace | None = None):
        self.dut = dut
        self.periods = periods
        self.width = int(dut.DATA_WIDTH.value)
        self.capacity = 2 ** int(dut.ADDR_WIDTH.value) + 1
        self.source = Source(dut, dut.s_clk, "s", pace=pace_in)
        self.sink = Sink(dut, dut.m_clk, "m", pace=pace_out)
        self.coverage = Coverage(
            f"async_fifo_{self.width}x{self.capacity}",
            writer=("idle", "moved", "stalled"),
            reader=("empty", "moved", "stalled"),
            words=(*range(self.capacity), "full"),
        )

    async def start(self):
        """Start the clocks with a random phase, reset both sides, check for unknown values."""
        dut = self.dut
        start_clock(dut.s_clk, self.periods[0])
        await Timer(random.randint(1, int(self.periods[1] * 1000)), unit="ps")
        start_clock(dut.m_clk, self.periods[1])
        # Both sides are held until both clocks have seen it, as the core asks for.
        dut.s_rst.value = dut.m_rst.value = 1
        await ClockCycles(dut.s_clk, 4)
        await ClockCycles(dut.m_clk, 4)
        await Combine(
            cocotb.start_soon(reset(dut.s_clk, dut.s_rst, 1)),
            cocotb.start_soon(reset(dut.m_clk, dut.m_rst, 1)),
        )
        assert_known(dut.s_ready, dut.m_valid)
        assert dut.m_valid.value == 0
        self.source.start()
        self.sink.start()
        cocotb.start_soon(self._watch("writer", dut.s_clk, dut.s_valid, dut.s_ready))
        cocotb.start_soon(self._watch("reader", dut.m_clk, dut.m_valid, dut.m_ready))
        cocotb.start_soon(self._gray(dut.s_clk, dut.wr_gray))
        cocotb.start_soon(self._gray(dut.m_clk, dut.rd_gray))

    def fill(self, count):
        """Queue random words."""
        self.source.put(*(random.getrandbits(self.width) for _ in range(count)))

    async def _watch(self, point, clk, valid, ready):
        """Collect coverage of one side; the words inside never exceed the capacity."""
        while True:
            await RisingEdge(clk)
            v, r = valid.value == 1, ready.value == 1
            quiet, stalled = ("idle", "empty")[point == "reader"], "stalled"
            self.coverage.hit(point, "moved" if v and r else stalled if v else quiet)
            inside = len(self.source.sent) - len(self.sink.words)
            assert inside <= self.capacity
            self.coverage.hit("words", "full" if inside == self.capacity else max(inside, 0))

    async def _gray(self, clk, pointer):
        """What crosses the clocks changes by one bit at most; anything else is not safe."""
        before = int(pointer.value)
        while True:
            await FallingEdge(clk)
            now = int(pointer.value)
            assert (now ^ before).bit_count() <= 1, f"{pointer._name}: {before:b} to {now:b}"
            before = now

    async def drain(self, cycles):
        """Wait until every word went through, then compare. `cycles` are those of the reader."""
        done = lambda: self.source.idle and len(self.sink.words) == len(self.source.sent)  # noqa: E731
        await until(self.dut.m_clk, done, cycles, "the last word")
        assert self.sink.words == self.source.sent
