"""The estimator in float, and a cell to estimate: the golden models, in numpy's float64."""

from dataclasses import dataclass

import numpy as np

FULL = 1 - 2.0**-40


@dataclass
class Settings:
    """The numbers that are written into the core, in the core's units."""

    ocv: list[int]  # mV at charge 0, 1/16, ... 1; strictly rising
    k: int  # 2**-40 of full per mA and sample
    r: int  # 2**-12 of 1/16 mV per mA
    correction: int  # 2**-32 of full per 1/16 mV

    @property
    def ohm(self) -> float:
        """R in mV per mA."""
        return self.r / 4096 / 16

    @property
    def gain(self) -> float:
        """L in full per mV."""
        return self.correction * 16 / 2**32

    def slopes(self) -> tuple[float, float]:
        """The lowest and the highest slope of the OCV, in mV per full."""
        steps = np.diff(self.ocv) * 16
        return float(steps.min()), float(steps.max())

    def voltage(self, charge: float) -> float:
        """OCV in mV."""
        return float(np.interp(charge, np.arange(17) / 16, self.ocv))

    def bound(self, disturbance: float) -> float:
        """How far off the estimate stays, once there, if the voltage is off by `disturbance` mV.

        One sample takes an error e to e - L (OCV(c+e) - OCV(c)) + L d. While L times the highest
        slope is below 1, that is at most |e| (1 - L s) + L |d| with the lowest slope s, whose fixed
        point is |d| / s.
        """
        low, high = self.slopes()
        assert self.gain * high < 1
        return disturbance / low


# What the core rounds in a voltage, at most, in mV: three times down to 1/16 mV (the OCV, the drop,
# and the place between two points of the table, whose 16 bits are below 1/16 mV for a rise of less
# than 4096 mV per full).
ROUNDING = 3 / 16


def step(settings: Settings, charge: float, current: int, voltage: int) -> float:
    """One sample, in float."""
    charge = float(np.clip(charge - settings.k * current / 2**40, 0, FULL))
    error = voltage - (settings.voltage(charge) - settings.ohm * current)
    return float(np.clip(charge + settings.gain * error, 0, FULL))
