"""The SPI flash of FPGA boards, through openFPGALoader.

Source: openFPGALoader's ``--help``, version 0.10: ``--ftdi-serial``, ``--write-flash``,
``--dump-flash``, ``--offset``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from labctl.boards.flash.external import External
from labctl.boards.flash.image import Segment
from labctl.boards.keys import Key


class OpenFpgaLoader(External):
    """See the module."""

    name = "openfpgaloader"
    program = "openFPGALoader"
    package = "apt-get install openfpgaloader"
    # It ends with exit code 0 after some errors (openFPGALoader#154).
    error = re.compile(r"(?i)\b(error|fail(ed)?|unable|can't|cannot|mismatch)\b|no device")
    ignore = re.compile(r"(?i)error rate|0 errors?")
    absent = re.compile(r"(?i)unable to open ftdi device|device not found|JTAG init failed")
    keys: ClassVar[Mapping[str, Key]] = {
        **External.keys,
        "address": Key(int, "Where an image begins that does not say so; the region's beginning."),
        "board": Key(str, "Board, as --list-boards names it.", needed=True, pattern=r"[\w.+-]+"),
    }

    def look(self) -> list[str]:
        """Return the command that shows who is there."""
        return [*self._which(), "--detect"]

    def put(self, file: Path, segment: Segment) -> list[str]:
        """Return the command that writes."""
        return [*self._which(), "--write-flash", "--file-type", "bin",
                "--offset", str(segment.address), str(file)]  # fmt: skip

    def get(self, file: Path, segment: Segment) -> list[str]:
        """Return the command that reads."""
        return [*self._which(), "--dump-flash", "--file-size", str(len(segment.data)),
                "--offset", str(segment.address), str(file)]  # fmt: skip

    def go(self) -> list[str]:
        """Return the command that lets the FPGA load its flash."""
        return [*self._which(), "--reset"]

    def _which(self) -> list[str]:
        return [self.program, "--board", str(self.config["board"]), "--ftdi-serial", self.serial]
