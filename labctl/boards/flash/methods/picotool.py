"""RP2040 and RP2350 boards in BOOTSEL mode, through picotool.

Source: picotool's README, version 2 (``load``, ``save -r``, ``reboot``; ``--ser`` chooses the
board; ``-f`` takes a board whose program has the SDK's USB stdio into BOOTSEL mode).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from labctl.boards.flash.external import External
from labctl.boards.flash.image import Segment
from labctl.boards.keys import Key

# `save` reads whole pages (README, save): of 256 bytes.
_PAGE = 256


class Picotool(External):
    """See the module."""

    name = "picotool"
    program = "picotool"
    package = "Debian 12 has none; see https://github.com/raspberrypi/picotool (apt in Debian 13)"
    error = re.compile(r"ERROR|(?i:\berror\b|failed|unable|mismatch)")
    absent = re.compile(r"No accessible RP\S* device")
    keys: ClassVar[Mapping[str, Key]] = {
        **External.keys,
        "address": Key(int, "Where an image begins that does not say so; the region's beginning."),
    }

    def look(self) -> list[str]:
        """Return the command that shows who is there."""
        return [self.program, "info", "-d", *self._which()]

    def put(self, file: Path, segment: Segment) -> list[str]:
        """Return the command that writes."""
        return [self.program, "load", str(file), "-t", "bin", "-o", f"{segment.address:#x}",
                *self._which()]  # fmt: skip

    def get(self, file: Path, segment: Segment) -> list[str]:
        """Return the command that reads."""
        end = -(-segment.end // _PAGE) * _PAGE
        return [self.program, "save", "-r", f"{segment.address:x}", f"{end:x}", str(file),
                "-t", "bin", *self._which()]  # fmt: skip

    def go(self) -> list[str]:
        """Return the command that starts the new program."""
        return [self.program, "reboot", *self._which()]

    def _which(self) -> list[str]:
        return ["--ser", self.serial, "-f"]
