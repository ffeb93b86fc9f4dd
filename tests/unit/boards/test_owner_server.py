"""The owner's loop on a line that is made up."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from labctl.boards.owner.log import LogReader
from labctl.boards.owner.place import OwnerConfig, Place
from labctl.boards.owner.server import Owner
from labctl.transport.lines.base import Line
from labctl.transport.lines.settings import LineSettings


class HeldBack(Line):
    """A line that took bytes in while it was opened: its descriptor never becomes readable."""

    url = "held"

    def __init__(self) -> None:
        self._silent, self._other = os.pipe()
        self._bytes = [b"early ", b"words"]

    def fileno(self) -> int:
        return self._silent

    def read(self, limit: int) -> bytes:
        return self._bytes.pop(0) if self._bytes else b""

    def write(self, data: bytes) -> int:
        return len(data)

    def close(self) -> None:
        os.close(self._silent)
        os.close(self._other)


def test_what_a_line_took_in_while_it_was_opened_is_recorded_at_once(tmp_path: Path) -> None:
    place = Place("held", tmp_path)
    place.make()
    config = OwnerConfig("uno", "held", LineSettings())
    line = HeldBack()
    with socket.socket(socket.AF_UNIX) as listener:
        owner = Owner(place, config, lambda: line, listener)
        owner.adopt(line)
        assert LogReader(place.log).tail(100) == b"early words"
    line.close()
