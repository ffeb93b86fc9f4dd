"""Clock, reset, a master in Python and the scoreboard of the SPI slave."""

import cocotb
from cocotb.triggers import RisingEdge, Timer

from labctl.fpga.tb import Coverage, Pace, Sink, Source, assert_known, reset, start_clock, until

CLOCK_PS = 20_000
# Cycles of half a period of the serial clock, at least; its edges are at any time in a cycle.
MIN_HALF = 5


class TB:
    """One slave and the master at its lines."""

    def __init__(self, dut, pace_out: Pace | None = None):
        self.dut = dut
        start_clock(dut.clk, CLOCK_PS / 1000)
        dut.cs_n.value, dut.sclk.value, dut.mosi.value = 1, 0, 0
        self.source = Source(dut, dut.clk, "s")
        self.sink = Sink(dut, dut.clk, "m", ("data", "first"), pace=pace_out)
        self.sent: list[tuple[int, int]] = []  # by the master: word, first of a transfer
        self.answers: list[int] = []
        self.pulses = {"overrun": 0, "underrun": 0, "cut": 0}
        self.coverage = Coverage(
            "spi_slave",
            mode=range(4),
            half=("shortest", "longer"),
            words=("one", "two", "more"),
            sent=("00", "ff", "other"),
            answer=("word", "nothing there"),
            end=("whole", "cut short"),
        )
        self.set_mode(0, MIN_HALF * CLOCK_PS)

    def set_mode(self, mode: int, half_ps: int):
        """Set mode (CPOL is its upper bit) and half a period; only between transfers."""
        self.mode, self.half_ps = mode, half_ps
        self.dut.cpol.value, self.dut.cpha.value = mode >> 1, mode & 1
        self.dut.sclk.value = mode >> 1

    async def start(self):
        """Reset, check for unknown values, start drivers and monitors."""
        dut = self.dut
        await reset(dut.clk, dut.rst)
        assert_known(dut.miso, dut.s_ready, dut.m_valid, dut.overrun, dut.underrun, dut.cut)
        assert dut.miso_enable.value == 0
        self.source.start()
        self.sink.start()
        for name in self.pulses:
            cocotb.start_soon(self._count(name))

    async def _count(self, name):
        while True:
            await RisingEdge(getattr(self.dut, name))
            self.pulses[name] += 1

    async def _half(self):
        await Timer(self.half_ps, "ps")

    async def transfer(self, words: list[int], bits_of_last: int = 8) -> list[int]:
        """One transfer; the last word may be cut short. Returns what came back, word by word."""
        dut, (cpol, cpha) = self.dut, divmod(self.mode, 2)
        dut.cs_n.value = 0
        got = []
        for n, word in enumerate(words):
            count = bits_of_last if n == len(words) - 1 else 8
            value = 0
            for bit in range(count):
                if not cpha:
                    dut.mosi.value = word >> (7 - bit) & 1
                await self._half()
                if not cpha:
                    value = value << 1 | int(dut.miso.value)
                dut.sclk.value = not cpol
                if cpha:
                    dut.mosi.value = word >> (7 - bit) & 1
                await self._half()
                if cpha:
                    value = value << 1 | int(dut.miso.value)
                dut.sclk.value = cpol
            if count == 8:
                self.sent.append((word, int(n == 0)))
                got.append(value)
                self.coverage.hit("sent", {0: "00", 255: "ff"}.get(word, "other"))
        await self._half()
        dut.cs_n.value = 1
        # Off, and on again after a time that the slave sees.
        await self._half()
        await self._half()
        self.coverage.hit("mode", self.mode)
        self.coverage.hit("half", "shortest" if self.half_ps == MIN_HALF * CLOCK_PS else "longer")
        self.coverage.hit("words", {1: "one", 2: "two"}.get(len(words), "more"))
        self.coverage.hit("end", "whole" if bits_of_last == 8 else "cut short")
        self.answers += got
        return got

    async def settle(self):
        """Wait until every word was read, then compare with what the master sent."""
        done = lambda: len(self.sink.words) == len(self.sent)  # noqa: E731
        await until(self.dut.clk, done, 2000, "the last word", every=4)
        assert self.sink.words == self.sent
