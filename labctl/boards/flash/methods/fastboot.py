"""Boards whose boot loader speaks fastboot (Android, U-Boot), over USB.

fastboot cannot read back, so nothing is claimed of what is there but that the board said OKAY.

Source: fastboot(1), Android platform tools; U-Boot's doc/android/fastboot.rst.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from labctl.boards.flash.external import External
from labctl.boards.flash.image import Image, Segment
from labctl.boards.flash.method import Identity, RefusedError
from labctl.boards.flash.runner import Outcome
from labctl.boards.keys import Key

_PRODUCT = re.compile(r"product: (\S+)")


class Fastboot(External):
    """See the module."""

    name = "fastboot"
    program = "fastboot"
    package = "apt-get install fastboot"
    error = re.compile(r"FAILED|(?i:\berror\b|cannot)")
    absent = re.compile(r"< ?waiting for")
    done = r"OKAY"
    slowest = 1 << 20
    keys: ClassVar[Mapping[str, Key]] = {
        **External.keys,
        "partition": Key(str, "Partition that is written.", needed=True, pattern=r"[\w.:-]+"),
    }

    def layout(self, image: Image) -> tuple[Segment, ...]:
        """Return what is written, from the partition's beginning."""
        segments = image.at(self.region.base)
        if len(segments) != 1:
            raise RefusedError(
                "it has several parts, and a partition is written as a whole",
                thing=str(image.path), action="make a raw image of it",
            )  # fmt: skip
        self.region.check(segments, thing=str(image.path))
        return segments

    def look(self) -> list[str]:
        """Return the command that asks what it is."""
        return [*self._which(), "getvar", "product"]

    def identity(self, outcome: Outcome) -> Identity:
        """Return the product and the serial number."""
        found = _PRODUCT.search(outcome.text)
        facts = {"probe": self.serial} | ({"product": found[1]} if found else {})
        return Identity(facts, frozenset({"probe"}))

    def put(self, file: Path, segment: Segment) -> list[str]:
        """Return the command that writes."""
        return [*self._which(), "flash", str(self.config["partition"]), str(file)]

    def go(self) -> list[str]:
        """Return the command that restarts it."""
        return [*self._which(), "reboot"]

    def _which(self) -> list[str]:
        return [self.program, "-s", self.serial]
