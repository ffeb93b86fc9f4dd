"""Boards with a debug adapter (CMSIS-DAP, ST-LINK, J-Link), through pyOCD.

Source: pyOCD's documentation: command-line options of ``pyocd flash`` and ``pyocd commander``
(``savemem``), target names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from labctl.boards.flash.external import External
from labctl.boards.flash.image import Segment
from labctl.boards.keys import Key


class PyOcd(External):
    """See the module."""

    name = "pyocd"
    program = "pyocd"
    package = "pip install pyocd"
    error = re.compile(r"\b[CE]\b .*\[\w+\]$|\berror\b|\bcritical\b|not recognized", re.IGNORECASE)
    absent = re.compile(r"(?i)no (available|connected) (debug )?probes?|no probe.* matching|"
                        r"unable to find probe|no available debug probes")  # fmt: skip
    keys: ClassVar[Mapping[str, Key]] = {
        **External.keys,
        "address": Key(int, "Where an image begins that does not say so; the region's beginning."),
        "chip": Key(str, "Target, as 'pyocd list --targets' names it.", needed=True,
                    pattern=r"[\w.-]+"),
    }  # fmt: skip

    def look(self) -> list[str]:
        """Return the command that shows who is there."""
        return self._commander("status")

    def put(self, file: Path, segment: Segment) -> list[str]:
        """Return the command that writes."""
        return [
            self.program, "flash", *self._which(), "--erase", "sector", "--format", "bin",
            "--base-address", f"{segment.address:#x}", str(file),
        ]  # fmt: skip

    def get(self, file: Path, segment: Segment) -> list[str]:
        """Return the command that reads."""
        return self._commander(f"savemem {segment.address:#x} {len(segment.data):#x} {file}")

    def go(self) -> list[str]:
        """Return the command that starts the new program."""
        return [self.program, "reset", *self._which()]

    def _which(self) -> list[str]:
        # --no-wait: a probe that is not there is an error, not something to wait for.
        return ["--uid", self.serial, "--target", str(self.config["chip"]), "--no-wait"]

    def _commander(self, command: str) -> list[str]:
        return [self.program, "commander", *self._which(), "--command", command]
