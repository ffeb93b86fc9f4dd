"""Boards whose boot loader speaks USB DFU (also ST's DfuSe), through dfu-util.

Source: dfu-util(1), version 0.11; STMicroelectronics AN3156 (DfuSe: addresses, upload).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from labctl.boards.flash.external import External
from labctl.boards.flash.image import Segment
from labctl.boards.keys import Key


class DfuUtil(External):
    """See the module."""

    name = "dfu-util"
    program = "dfu-util"
    package = "apt-get install dfu-util"
    error = re.compile(r"(?i)\b(error|failed|cannot|unable|lost)\b|not enough")
    # An image as it is has no DFU suffix, and needs none.
    ignore = re.compile(r"(?i)suffix|Warning:")
    absent = re.compile(r"No DFU capable USB device available")
    # It lists nothing, with exit code 0, where there is nothing.
    present = r"Found DFU"
    done = r"(?i)File downloaded successfully|Done!"
    keys: ClassVar[Mapping[str, Key]] = {
        **External.keys,
        "address": Key(int, "Where an image begins that does not say so; the region's beginning."),
        "device": Key(str, "USB VENDOR:PRODUCT of its boot loader, four digits each.", needed=True,
                      pattern=r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}"),
        "alt": Key(int, "Alternate setting that is its memory; 0 if not given."),
        "dfuse": Key(bool, "It speaks ST's DfuSe, in which addresses are said."),
    }  # fmt: skip

    def look(self) -> list[str]:
        """Return the command that lists it."""
        return [*self._which(), "-l"]

    def put(self, file: Path, segment: Segment) -> list[str]:
        """Return the command that writes."""
        where = ["-s", f"{segment.address:#x}"] if self._dfuse else []
        return [*self._which(), *where, "-D", str(file)]

    def get(self, file: Path, segment: Segment) -> list[str] | None:
        """Return the command that reads; plain DFU reads what it likes, from wherever it likes."""
        if not self._dfuse:
            return None
        extent = f"{segment.address:#x}:{len(segment.data)}"
        return [*self._which(), "-s", extent, "-U", str(file)]

    def go(self) -> list[str] | None:
        """Return the command that starts the new program."""
        return None if self._dfuse else [*self._which(), "-e", "-R"]

    @property
    def _dfuse(self) -> bool:
        return bool(self.config.get("dfuse", False))

    def _which(self) -> list[str]:
        return [
            self.program, "-d", str(self.config["device"]), "-S", self.serial,
            "-a", str(self.config.get("alt", 0)),
        ]  # fmt: skip
