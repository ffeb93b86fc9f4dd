"""Products of matrices, and layers of a quantised network, on a matrix engine at a serial line.

Usage: python fpga/matmul_uart/client.py LINE [ROWS INNER COLS]

LINE is a serial device, such as the one that `labctl fpga bridge matmul_uart --link LINE` makes. A
random product of that size (6 9 5) and a small network are computed over the line and compared with
numpy.
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "common"))
from frames import MAX_PAYLOAD, FrameError, Link

IDENTIFY, BEATS, LAST, CLEAR = range(4)
TRIES = 3


class MatrixEngine:
    """A matrix engine of N by N cells behind a line.

    Args:
        link: the line.

    Raises:
        FrameError: something else answers, or nothing does.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        said = link.request(IDENTIFY)
        if len(said) != 4 or said[:3] != b"MM\x01":
            raise FrameError(f"this is no matrix engine: {said!r}")
        self.n = said[3]
        self.beats = MAX_PAYLOAD // (2 * self.n)  # in a frame

    def tile(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """N x K times K x N, int8 to int32; exact for K up to 131071.

        A tile whose transfer fails is cleared and begun again: a request that adds to a product
        must not be sent twice.
        """
        columns = np.concatenate([a.T, b], axis=1).astype(np.int8)
        for _ in range(TRIES):
            try:
                sums = self._send(columns)
            except FrameError as error:
                failed = error
                self.link.request(CLEAR)
            else:
                return np.frombuffer(sums, dtype="<i4").reshape(self.n, self.n)
        raise failed

    def _send(self, columns: np.ndarray) -> bytes:
        parts = range(0, len(columns), self.beats)
        for at in parts:
            data = columns[at : at + self.beats].tobytes()
            last = at + self.beats >= len(columns)
            answer = self.link.request(LAST if last else BEATS, data, once=True)
        return answer

    def product(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Any A times any B, tile by tile; sides that N does not divide are filled with zeros."""
        n = self.n
        rows, cols = a.shape[0], b.shape[1]
        out = np.zeros((-(-rows // n) * n, -(-cols // n) * n), dtype=np.int32)
        a = np.pad(a, ((0, -rows % n), (0, 0)))
        b = np.pad(b, ((0, 0), (0, -cols % n)))
        for i in range(0, rows, n):
            for j in range(0, cols, n):
                out[i : i + n, j : j + n] = self.tile(a[i : i + n], b[:, j : j + n])
        return out[:rows, :cols]

    def layer(self, x: np.ndarray, weights: np.ndarray, scale: float) -> np.ndarray:
        """max(0, x W) of int8, scaled and rounded to int8: one layer of a quantised network."""
        return requantised(self.product(x, weights), scale)


def requantised(sums: np.ndarray, scale: float) -> np.ndarray:
    """ReLU, times `scale`, to the nearest int8."""
    return np.clip(np.rint(np.maximum(0, sums) * scale), -128, 127).astype(np.int8)


def main() -> int:
    """Compute over the line and compare; 0 if all is equal."""
    path, *sizes = sys.argv[1:]
    rows, inner, cols = map(int, sizes or ("6", "9", "5"))
    rng = np.random.default_rng(1)
    draw = lambda *shape: rng.integers(-128, 128, shape, dtype=np.int8)  # noqa: E731
    with Link(path) as link:
        engine = MatrixEngine(link)
        a, b = draw(rows, inner), draw(inner, cols)
        began = time.monotonic()
        got = engine.product(a, b)
        seconds = time.monotonic() - began
        fine = bool((got == a.astype(np.int32) @ b.astype(np.int32)).all())
        print(got)
        print(f"{rows}x{inner} times {inner}x{cols} on {engine.n}x{engine.n} cells: ", end="")
        print(f"{'equal to' if fine else 'NOT'} numpy's, {seconds:.2f} s")
        x, weights = draw(4, 8), (draw(8, 8), draw(8, 4))
        y = x
        for w in weights:
            x = engine.layer(x, w, 1 / 512)
            y = requantised(y.astype(np.int32) @ w.astype(np.int32), 1 / 512)
        print(f"a network of two layers: {'equal to' if (x == y).all() else 'NOT'} numpy's")
        fine = fine and bool((x == y).all())
    return 0 if fine else 1


if __name__ == "__main__":
    if len(sys.argv) not in (2, 5):
        sys.exit(__doc__)
    try:
        sys.exit(main())
    except (FrameError, OSError) as error:
        sys.exit(f"client.py: {error}")
