"""Boards with a debug adapter, through OpenOCD.

Source: OpenOCD User's Guide 0.12: General Commands (``init``, ``reset halt``, ``dump_image``),
Adapter (``adapter serial``), Flash (``flash write_image erase``).
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

_PROCESSOR = re.compile(r"\] (\S+ r\d+p\d+) processor detected")


class OpenOcd(External):
    """See the module."""

    name = "openocd"
    program = "openocd"
    package = "apt-get install openocd"
    error = re.compile(r"^Error:|\berror:|couldn't|timed out", re.IGNORECASE)
    absent = re.compile(r"Error: (open failed|unable to find|no device found)|No .* device found")
    done = r"wrote \d+ bytes from file"
    keys: ClassVar[Mapping[str, Key]] = {
        **External.keys,
        "address": Key(int, "Where an image begins that does not say so; the region's beginning."),
        "interface": Key(str, "Its script of the adapter, such as interface/stlink.cfg.",
                         needed=True, pattern=r"[\w./-]+\.cfg"),
        "script": Key(str, "Its script of the chip, such as target/stm32f4x.cfg.",
                      needed=True, pattern=r"[\w./-]+\.cfg"),
    }  # fmt: skip

    def look(self) -> list[str]:
        """Return the command that shows who is there."""
        return self._do("init", "targets")

    def put(self, file: Path, segment: Segment) -> list[str]:
        """Return the command that writes."""
        return self._do(
            "init", "reset halt", f"flash write_image erase {file} {segment.address:#x} bin"
        )

    def get(self, file: Path, segment: Segment) -> list[str]:
        """Return the command that reads."""
        return self._do(
            "init", "reset halt", f"dump_image {file} {segment.address:#x} {len(segment.data):#x}"
        )

    def go(self) -> list[str]:
        """Return the command that starts the new program."""
        return self._do("init", "reset run")

    def identity(self, outcome: Outcome) -> Identity:
        """Return the adapter and the processor."""
        found = _PROCESSOR.search(outcome.text)
        facts = {"probe": self.serial} | ({"processor": found[1]} if found else {})
        return Identity(facts, frozenset({"probe"}))

    def _do(self, *commands: str) -> list[str]:
        # The serial number comes between the adapter's script, which chooses the driver, and init.
        return [
            self.program, "-f", str(self.config["interface"]), "-c",
            f"adapter serial {self.serial}", "-f", str(self.config["script"]),
            *(word for command in commands for word in ("-c", command)), "-c", "shutdown",
        ]  # fmt: skip
