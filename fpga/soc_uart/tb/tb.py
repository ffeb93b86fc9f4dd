"""Clock, reset, the far end of the line and the scoreboard of the estimator behind a UART."""

import random
import struct

from client import SAMPLES, SETTINGS, samples_payload, settings_payload
from golden import ROUNDING, Settings, step
from system_tb import DISTURBANCES, REFUSALS, SystemTB

from labctl.fpga.tb import Coverage

IDENTIFY = 0


class TB(SystemTB):
    """One system, and beside it the estimator in float, from the same samples."""

    def __init__(self, dut):
        super().__init__(dut)
        self.settings: Settings | None = None
        self.model = 0.0
        self.coverage = Coverage(
            "soc_uart",
            request=("identify", "settings", "samples"),
            refused=REFUSALS.values(),
            before=DISTURBANCES,
            samples=("none", "one", "several", "as many as fit"),
            limit=("empty", "full", "between"),
        )

    async def identify(self):
        """Ask who is there."""
        assert await self.ask(IDENTIFY) == (0x80, b"SC\x01\x00")
        self.coverage.hit("request", "identify")

    async def configure(self, settings: Settings, charge: int):
        """Write all settings and the charge, in 2**-16 of full."""
        words = [*settings.ocv, settings.k, settings.r, settings.correction, charge]
        assert await self.ask(SETTINGS, settings_payload(words)) == (0x80 | SETTINGS, b"")
        self.settings, self.model = settings, charge / 65536
        self.coverage.hit("request", "settings")

    async def samples(self, count: int, aim: float):
        """Send samples about a charge and hold each estimate against the float model's."""
        drawn = []
        for _ in range(count):
            voltage = self.settings.voltage(aim) + random.uniform(-300, 300)
            drawn.append((random.choice((0, random.randint(-30000, 30000))), round(voltage)))
        op, answer = await self.ask(SAMPLES, samples_payload(drawn))
        assert op == 0x80 | SAMPLES
        assert len(answer) == 4 * count
        bound = self.settings.bound(ROUNDING) + 2**-32
        for (current, voltage), (word,) in zip(
            drawn, struct.iter_unpack("<I", answer), strict=True
        ):
            self.model = step(self.settings, self.model, current, voltage)
            off = abs(word / 2**32 - self.model)
            assert off <= bound, (
                f"{word / 2**32:.7f}, the model says {self.model:.7f} ({bound:.7f})"
            )
            kind = {0: "empty", 2**32 - 1: "full"}.get(word, "between")
            self.coverage.hit("limit", kind)
        self.coverage.hit("request", "samples")
        kinds = {0: "none", 1: "one", 63: "as many as fit"}
        self.coverage.hit("samples", kinds.get(count, "several"))


def draw_settings() -> Settings:
    """A cell of chance: rising OCV, any capacity, resistance and gain for which it is stable."""
    ocv = [random.randint(2000, 3000)]
    for _ in range(16):
        ocv.append(ocv[-1] + random.randint(5, 250))
    return Settings(ocv, random.randrange(65536), random.randrange(16384), random.randint(1, 60000))
