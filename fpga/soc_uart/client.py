"""The state of charge of a battery cell, from an estimator at a serial line.

Usage: python fpga/soc_uart/client.py LINE [SAMPLES]

LINE is a serial device, such as the one that `labctl fpga bridge soc_uart --link LINE` makes. A
cell is simulated, discharged and charged; the estimator begins with a wrong charge.
"""

import math
import random
import struct
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "common"))
from frames import MAX_PAYLOAD, FrameError, Link

IDENTIFY, SETTINGS, SAMPLES = range(3)
WORD = 4
# The open-circuit voltage of a lithium-ion cell (NMC), in mV, at charge 0, 1/16, ... 1.
NMC = [3000, 3349, 3434, 3495, 3536, 3565, 3589, 3614, 3645, 3688, 3743, 3806, 3873, 3942, 4014]
NMC += [4092, 4180]


def settings_payload(words: Sequence[int]) -> bytes:
    """The payload of a request for settings: all of them, from index 0."""
    return b"".join(struct.pack("<BBH", index, 0, word) for index, word in enumerate(words))


def samples_payload(samples: Iterable[tuple[int, int]]) -> bytes:
    """The payload of a request with samples of (current in mA, voltage in mV)."""
    return b"".join(struct.pack("<hH", current, voltage) for current, voltage in samples)


class Estimator:
    """An estimator behind a line.

    Args:
        link: the line.

    Raises:
        FrameError: something else answers, or nothing does.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        said = link.request(IDENTIFY)
        if said[:3] != b"SC\x01":
            raise FrameError(f"this is no estimator of charge: {said!r}")

    def configure(self, ocv: Sequence[int], k: int, r: int, correction: int, charge: float) -> None:
        """Write all settings (`fpga/soc/rtl/soc.v` has the units) and the charge, 0 to 1."""
        words = [*ocv, k, r, correction, min(65535, int(charge * 65536))]
        self.link.request(SETTINGS, settings_payload(words))

    def estimates(self, samples: Sequence[tuple[int, int]]) -> list[float]:
        """The charge, 0 to 1, after each sample.

        Raises:
            FrameError: a request was lost on the line. It is not sent again: samples that were
                counted twice would spoil the charge.
        """
        found: list[float] = []
        most = MAX_PAYLOAD // WORD
        for at in range(0, len(samples), most):
            payload = samples_payload(samples[at : at + most])
            answer = self.link.request(SAMPLES, payload, once=True)
            found += [one / 2**32 for (one,) in struct.iter_unpack("<I", answer)]
        return found


def main() -> int:
    """Estimate over the line; 0 if it ends within 3.1 % of the truth, the bound in soc/README."""
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 600
    draw = random.Random(1)
    k, r, correction = round(2**40 * 0.1 / (3000 * 3600)), 1966, 20000
    truth, samples, told = 0.6, [], []
    for n in range(count):
        current = round(3000 * math.sin(n / 40))
        truth -= k * current / 2**40
        low = min(int(truth * 16), 15)
        ocv = NMC[low] + (truth * 16 - low) * (NMC[low + 1] - NMC[low])
        samples.append((current, round(ocv - r / 65536 * current + draw.uniform(-2, 2))))
        told.append(truth)
    with Link(sys.argv[1]) as link:
        estimator = Estimator(link)
        estimator.configure(NMC, k, r, correction, 0.1)
        got = estimator.estimates(samples)
    for n in range(0, count, max(1, count // 12)):
        print(f"sample {n:4}: charge {told[n]:.4f}, estimate {got[n]:.4f}")
    off = abs(got[-1] - told[-1])
    print(f"at the end off by {off:.4f}")
    return 0 if off < 0.031 else 1


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        sys.exit(main())
    except (FrameError, OSError) as error:
        sys.exit(f"client.py: {error}")
