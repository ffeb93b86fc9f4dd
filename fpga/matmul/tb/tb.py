"""Clock, reset, drivers and scoreboard of the matrix engine; numpy is the golden model."""

import random

import numpy as np

from labctl.fpga.tb import Coverage, Pace, Sink, Source, assert_known, reset, start_clock, until


def packed(values) -> int:
    """Signed bytes in one word, the first in the lowest byte."""
    return int.from_bytes(np.asarray(values, dtype=np.int8).tobytes(), "little")


class TB:
    """One engine. `product` multiplies two matrices of any size on it, tile by tile."""

    def __init__(self, dut, pace_in: Pace | None = None, pace_out: Pace | None = None):
        self.dut = dut
        self.n = int(dut.N.value)
        start_clock(dut.clk)
        self.source = Source(dut, dut.clk, "s", ("a", "b", "last"), pace=pace_in)
        self.sink = Sink(dut, dut.clk, "m", ("data", "last"), pace=pace_out)
        self.coverage = Coverage(
            f"matmul_{self.n}",
            depth=("one", "up to n", "more"),
            operand=("lowest", "highest", "zero", "other"),
            result=("negative", "zero", "positive", "largest"),
        )

    async def start(self):
        """Reset, check for unknown values, start drivers."""
        dut = self.dut
        await reset(dut.clk, dut.rst)
        assert_known(dut.s_ready, dut.m_valid, dut.m_data, dut.m_last)
        self.source.start()
        self.sink.start()

    async def tile(self, a, b):
        """One product of N x K and K x N matrices of int8; compared with numpy's."""
        n, depth = self.n, a.shape[1]
        self.sink.words.clear()
        for k in range(depth):
            self.source.put((packed(a[:, k]), packed(b[k, :]), int(k == depth - 1)))
        done = lambda: len(self.sink.words) == n * n  # noqa: E731
        await until(self.dut.clk, done, 60 * (depth + n * n) + 200, "the product")
        assert [last for _, last in self.sink.words] == [0] * (n * n - 1) + [1]
        words = np.array([word for word, _ in self.sink.words], dtype=np.uint32)
        got = words.view(np.int32).reshape(n, n)
        want = a.astype(np.int32) @ b.astype(np.int32)
        assert (got == want).all(), f"{a} times {b}: {got}, not {want}"
        self._cover(a, b, got)
        return got

    def _cover(self, a, b, got):
        depth = a.shape[1]
        kind = "one" if depth == 1 else "up to n" if depth <= max(self.n, 2) else "more"
        self.coverage.hit("depth", kind)
        for value in np.concatenate([a.ravel(), b.ravel()]).tolist():
            names = {-128: "lowest", 127: "highest", 0: "zero"}
            self.coverage.hit("operand", names.get(value, "other"))
        for value in got.ravel().tolist():
            sign = "negative" if value < 0 else "positive" if value else "zero"
            self.coverage.hit("result", "largest" if value == depth * 128 * 128 else sign)

    async def product(self, a, b):
        """Any A times any B, in tiles; sides that N does not divide are padded with zeros."""
        n = self.n
        rows, cols = a.shape[0], b.shape[1]
        out = np.zeros((-(-rows // n) * n, -(-cols // n) * n), dtype=np.int32)
        a = np.pad(a, ((0, -rows % n), (0, 0)))
        b = np.pad(b, ((0, 0), (0, -cols % n)))
        for i in range(0, rows, n):
            for j in range(0, cols, n):
                out[i : i + n, j : j + n] = await self.tile(a[i : i + n], b[:, j : j + n])
        return out[:rows, :cols]

    def draw(self, rows: int, cols: int):
        """Random int8 that likes the extremes; now and then one value everywhere."""
        if random.random() < 0.2:
            return np.full((rows, cols), random.choice((-128, 127, 0)), dtype=np.int8)
        draw = lambda: random.choice((-128, 127, 0, random.randrange(-128, 128)))  # noqa: E731
        return np.array([[draw() for _ in range(cols)] for _ in range(rows)], dtype=np.int8)
