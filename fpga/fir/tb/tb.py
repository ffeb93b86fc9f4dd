"""Clock, reset, drivers and scoreboard of the FIR filter."""

import random

from cocotb.triggers import RisingEdge

from labctl.fpga.tb import Coverage, Pace, Sink, Source, assert_known, reset, start_clock, until


def filtered(coefs: list[int], samples: list[int]) -> list[int]:
    """The definition: y[n] is the sum of c[k] x[n-k], samples before the first are zero."""
    return [
        sum(c * samples[n - k] for k, c in enumerate(coefs) if n >= k) for n in range(len(samples))
    ]


def signed(value: int, bits: int) -> int:
    """A bit pattern read as two's complement."""
    return value - (1 << bits) if value >> (bits - 1) else value


class TB:
    """One filter; `check` compares its output with the definition."""

    def __init__(self, dut, pace_in: Pace | None = None, pace_out: Pace | None = None):
        self.dut = dut
        self.taps = int(dut.TAPS.value)
        self.bits = int(dut.DATA_WIDTH.value)
        self.coef_bits = int(dut.COEF_WIDTH.value)
        self.out_bits = len(dut.m_data)
        self.coefs: list[int] = []
        self.samples: list[int] = []
        start_clock(dut.clk)
        dut.coef_write.value = 0
        self.source = Source(dut, dut.clk, "s", pace=pace_in)
        self.sink = Sink(dut, dut.clk, "m", pace=pace_out)
        self.coverage = Coverage(
            f"fir_{self.taps}x{self.bits}x{self.coef_bits}",
            sample=("lowest", "highest", "zero", "other"),
            coef=("lowest", "highest", "zero", "other"),
            result=("negative", "zero", "positive"),
            history=("filling", "full"),
        )

    async def start(self, coefs: list[int]):
        """Reset, check for unknown values, write coefficients, start drivers."""
        dut = self.dut
        await reset(dut.clk, dut.rst)
        assert_known(dut.s_ready, dut.m_valid, dut.m_data)
        await self.load(coefs)
        self.source.start()
        self.sink.start()

    async def load(self, coefs: list[int]):
        """Write all coefficients, in an order of chance."""
        self.coefs = coefs
        for index in random.sample(range(self.taps), self.taps):
            self.dut.coef_write.value = 1
            self.dut.coef_index.value = index
            self.dut.coef_data.value = coefs[index] % (1 << self.coef_bits)
            await RisingEdge(self.dut.clk)
            self._cover("coef", coefs[index], self.coef_bits)
        self.dut.coef_write.value = 0
        await RisingEdge(self.dut.clk)

    def _cover(self, point, value, bits):
        names = {-(1 << (bits - 1)): "lowest", (1 << (bits - 1)) - 1: "highest", 0: "zero"}
        self.coverage.hit(point, names.get(value, "other"))

    def draw(self, bits: int) -> int:
        """A random value that likes the extremes."""
        top = 1 << (bits - 1)
        return random.choice((-top, top - 1, 0, random.randrange(-top, top)))

    def put(self, *samples: int):
        """Queue samples."""
        for sample in samples:
            self.coverage.hit("history", "filling" if len(self.samples) < self.taps else "full")
            self._cover("sample", sample, self.bits)
            self.samples.append(sample)
            self.source.put(sample % (1 << self.bits))

    async def results(self) -> list[int]:
        """Wait for all results so far."""
        limit = 200 + len(self.samples) * (self.taps + 60)
        done = lambda: len(self.sink.words) == len(self.samples)  # noqa: E731
        await until(self.dut.clk, done, limit, "the last result")
        return [signed(word, self.out_bits) for (word,) in self.sink.words]

    async def check(self, since: int = 0):
        """Compare the results from one index on, which were made with the present coefficients."""
        got = (await self.results())[since:]
        want = filtered(self.coefs, self.samples)[since:]
        assert got == want
        for value in got:
            sign = "negative" if value < 0 else "positive" if value else "zero"
            self.coverage.hit("result", sign)
