"""The SPI flash of boards with a Lattice iCE40 and an FTDI chip, through iceprog.

Source: iceprog's ``--help`` (Project IceStorm): ``-d s:VENDOR:PRODUCT:SERIAL``, ``-I``, ``-o``,
``-R``, ``-t``; exit codes 1 to 3. It erases blocks of 64 KiB unless told otherwise (``-i 4``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from labctl.boards.flash.external import External
from labctl.boards.flash.image import Segment
from labctl.boards.flash.method import Identity
from labctl.boards.flash.runner import Outcome
from labctl.boards.keys import Key

_FLASH_ID = re.compile(r"flash ID:((?: 0x[0-9A-Fa-f]{2}){3})")
_USB = "0x0403:0x6010"  # FTDI's FT2232, its own default


class IceProg(External):
    """See the module."""

    name = "iceprog"
    program = "iceprog"
    package = "apt-get install fpga-icestorm"
    error = re.compile(r"ABORT|(?i:\berror\b|failed|can't|found difference)")
    absent = re.compile(r"Can't find iCE FTDI USB device")
    keys: ClassVar[Mapping[str, Key]] = {
        **External.keys,
        "address": Key(int, "Where an image begins that does not say so; the region's beginning."),
        "interface": Key(str, "Port of the FTDI chip; A if not given.",
                         choices=("A", "B", "C", "D")),
        "usb": Key(str, "VENDOR:PRODUCT of the FTDI chip; that of an FT2232 if not given.",
                   pattern=r"0x[0-9A-Fa-f]{4}:0x[0-9A-Fa-f]{4}"),
    }  # fmt: skip

    def look(self) -> list[str]:
        """Return the command that reads the flash's ID."""
        return [*self._which(), "-t"]

    def identity(self, outcome: Outcome) -> Identity:
        """Return the adapter and the ID of its flash."""
        found = _FLASH_ID.search(outcome.text)
        facts = {"probe": self.serial} | ({"flash_id": found[1].strip()} if found else {})
        return Identity(facts, frozenset({"probe"}))

    def put(self, file: Path, segment: Segment) -> list[str]:
        """Return the command that writes; -X: it is read back by another run."""
        return [*self._which(), "-i", "4", "-o", str(segment.address), "-X", str(file)]

    def get(self, file: Path, segment: Segment) -> list[str]:
        """Return the command that reads."""
        return [*self._which(), "-o", str(segment.address), "-R", str(len(segment.data)),
                str(file)]  # fmt: skip

    def _which(self) -> list[str]:
        usb = str(self.config.get("usb", _USB))
        return [self.program, "-d", f"s:{usb}:{self.serial}",
                "-I", str(self.config.get("interface", "A"))]  # fmt: skip
