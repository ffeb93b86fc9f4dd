"""Clock, reset, the far end of the line and the scoreboard of the matrix engine behind a UART."""

import itertools
import random

import numpy as np
from system_tb import DISTURBANCES, REFUSALS, SystemTB

from labctl.fpga.tb import Coverage

IDENTIFY, BEATS, LAST, CLEAR = range(4)


class TB(SystemTB):
    """One system. `tile` is a product by requests."""

    def __init__(self, dut):
        super().__init__(dut)
        self.n = int(dut.N.value)
        self.coverage = Coverage(
            f"matmul_uart_{self.n}",
            request=("identify", "beats", "last", "clear"),
            refused=REFUSALS.values(),
            before=DISTURBANCES,
            frames=("one", "several"),
            beats=("one", "several", "as many as fit"),
            result=("negative", "zero", "positive"),
        )

    async def identify(self):
        """Ask who is there."""
        assert await self.ask(IDENTIFY) == (0x80, b"MM\x01" + bytes((self.n,)))
        self.coverage.hit("request", "identify")

    async def clear(self):
        """Forget what was begun."""
        assert await self.ask(CLEAR) == (0x80 | CLEAR, b"")
        self.coverage.hit("request", "clear")

    async def beats(self, a, b):
        """Send beats that do not end a product."""
        data = np.concatenate([a.T, b], axis=1).astype(np.int8).tobytes()
        assert await self.ask(BEATS, data) == (0x80 | BEATS, b"")
        self.coverage.hit("request", "beats")

    async def tile(self, a, b, parts: int = 1):
        """N x K times K x N in so many frames; compared with numpy's."""
        n, depth = self.n, a.shape[1]
        cuts = [0, *sorted(random.sample(range(1, depth), parts - 1)), depth]
        for begin, end in itertools.pairwise(cuts[:-1]):
            await self.beats(a[:, begin:end], b[begin:end])
        begin = cuts[-2]
        data = np.concatenate([a[:, begin:].T, b[begin:]], axis=1).astype(np.int8).tobytes()
        op, sums = await self.ask(LAST, data)
        assert op == 0x80 | LAST
        got = np.frombuffer(sums, dtype="<i4").reshape(n, n)
        want = a.astype(np.int32) @ b.astype(np.int32)
        assert (got == want).all(), f"{a} times {b}: {got}, not {want}"
        self.coverage.hit("request", "last")
        self.coverage.hit("frames", "one" if parts == 1 else "several")
        most = 255 // (2 * n)
        beats = depth - begin
        kind = "one" if beats == 1 else "as many as fit" if beats == most else "several"
        self.coverage.hit("beats", kind)
        for value in got.ravel().tolist():
            self.coverage.hit(
                "result", "negative" if value < 0 else "positive" if value else "zero"
            )
        return got

    def draw(self, rows: int, cols: int):
        """Random int8 that likes the extremes; now and then zero everywhere."""
        if random.random() < 0.1:
            return np.zeros((rows, cols), dtype=np.int8)
        draw = lambda: random.choice((-128, 127, 0, random.randrange(-128, 128)))  # noqa: E731
        return np.array([[draw() for _ in range(cols)] for _ in range(rows)], dtype=np.int8)
