"""Clock, reset, a slave in Python and the scoreboard of the SPI master."""

import random

import cocotb
from cocotb.triggers import FallingEdge, First, ReadOnly, RisingEdge, Timer
from cocotb.utils import get_sim_time

from labctl.fpga.tb import Coverage, Pace, Sink, Source, assert_known, reset, start_clock, until

CLOCK_NS = 20


class TB:
    """One master and the slave at its lines. A transfer is a list of words in one chip select."""

    def __init__(self, dut, pace_in: Pace | None = None, pace_out: Pace | None = None):
        self.dut = dut
        start_clock(dut.clk, CLOCK_NS)
        dut.miso.value = 0
        self.source = Source(dut, dut.clk, "s", ("data", "last"), pace=pace_in)
        self.sink = Sink(dut, dut.clk, "m", pace=pace_out)
        self.slave_got: list[list[int]] = []
        self.slave_sent: list[int] = []
        self.transfers: list[list[int]] = []
        self.coverage = Coverage(
            "spi_master",
            mode=range(4),
            divisor=("0", "1", "more"),
            words=("one", "two", "more"),
            sent=("00", "ff", "other"),
            clock_stopped=("inside a transfer",),
        )
        self.set_mode(0, 1)

    def set_mode(self, mode: int, divisor: int):
        """Set mode (CPOL is its upper bit) and speed; taken over at the next transfer."""
        self.mode, self.divisor = mode, divisor
        self.half_ps = (divisor + 1) * CLOCK_NS * 1000
        self.dut.cpol.value, self.dut.cpha.value = mode >> 1, mode & 1
        self.dut.divisor.value = divisor

    async def start(self):
        """Reset, check for unknown values and idle lines, start drivers and the slave."""
        dut = self.dut
        await reset(dut.clk, dut.rst)
        assert_known(dut.cs_n, dut.sclk, dut.mosi, dut.s_ready, dut.m_valid)
        assert dut.cs_n.value == 1
        self.source.start()
        self.sink.start()
        cocotb.start_soon(self._slave())

    def put(self, words: list[int]):
        """Queue one transfer."""
        self.transfers.append(words)
        self.source.put(*((word, int(i == len(words) - 1)) for i, word in enumerate(words)))

    async def _slave(self):
        """Answer with random words; hold every edge against the rules of the mode."""
        dut = self.dut
        while True:
            await FallingEdge(dut.cs_n)
            # The serial clock has its idle level when chip select falls, and when it rises.
            cpol, cpha = self.mode >> 1, self.mode & 1
            assert dut.sclk.value == cpol
            self.coverage.hit("mode", self.mode)
            self.coverage.hit("divisor", self.divisor if self.divisor < 2 else "more")
            words, got, edges = [], 0, 0
            answer = random.choice((0, 255, random.randrange(256)))
            if not cpha:
                dut.miso.value = answer >> 7
            before = get_sim_time("ps")
            while True:
                edge = dut.sclk.value_change
                if await First(edge, RisingEdge(dut.cs_n)) is not edge:
                    break
                # Sampled from before this edge: `mosi` changes on the edges between.
                await ReadOnly()
                now = get_sim_time("ps")
                assert now - before >= self.half_ps, f"half a period of {now - before} ps"
                if now - before > 2 * self.half_ps and edges == 0 and words:
                    self.coverage.hit("clock_stopped", "inside a transfer")
                before = now
                if edges % 2 == cpha:
                    got = got << 1 | int(dut.mosi.value)
                await Timer(1, unit="ns")
                # Drive the answer's next bit on the edges on which the master does not sample.
                if edges % 2 != cpha:
                    bit = edges // 2 + 1 - cpha
                    if bit < 8:
                        dut.miso.value = answer >> (7 - bit) & 1
                edges += 1
                if edges == 16:
                    words.append(got)
                    self.slave_sent.append(answer)
                    got = edges = 0
                    answer = random.choice((0, 255, random.randrange(256)))
                    if not cpha:
                        dut.miso.value = answer >> 7
            assert dut.sclk.value == cpol
            assert edges == 0, f"chip select rose after {edges} edges of a word"
            assert get_sim_time("ps") - before >= self.half_ps
            self.slave_got.append(words)
            self.coverage.hit("words", {1: "one", 2: "two"}.get(len(words), "more"))
            for word in words:
                self.coverage.hit("sent", {0: "00", 255: "ff"}.get(word, "other"))

    async def settle(self):
        """Wait until every transfer is over, then compare both directions."""
        words = sum(len(one) for one in self.transfers)
        done = lambda: (  # noqa: E731
            len(self.slave_got) == len(self.transfers) and len(self.sink.words) == words
        )
        limit = 100 * (words + 1) * (self.divisor + 1) + 200
        await until(self.dut.clk, done, limit, "the last transfer", every=8)
        assert self.slave_got == self.transfers
        assert [word for (word,) in self.sink.words] == self.slave_sent
