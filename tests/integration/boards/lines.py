"""Lines for tests: a pseudo-terminal or a TCP port as the other end, and clients of its owner."""

from __future__ import annotations

import contextlib
import os
import pty
import tty
from collections.abc import Iterator
from pathlib import Path

from labctl.boards.client import LineClient
from labctl.boards.owner import start
from labctl.boards.owner.place import OwnerConfig, Place
from labctl.transport.lines.opening import canonical
from labctl.transport.lines.settings import LineSettings


class PtyLine:
    """A pseudo-terminal whose master end is the board.

    Attributes:
        path: A link to the slave, as a stable name is.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "line"
        self.master = -1
        self.plug()

    def plug(self) -> None:
        """Make a new pseudo-terminal under the same name."""
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        fresh = self.path.with_suffix(".new")
        fresh.symlink_to(os.ttyname(slave))
        fresh.replace(self.path)
        # Kept open until the owner has it, so that nothing is lost in between.
        self._slave = slave

    def unplug(self) -> None:
        """Take it away."""
        os.close(self._slave)
        os.close(self.master)
        self.path.unlink()


@contextlib.contextmanager
def owned(base: Path, url: str, *, board: str = "uno") -> Iterator[LineClient]:
    """Attach to the line ``url`` below ``base``; the owner ends with the block."""
    place = Place(canonical(url), base)
    config = OwnerConfig(board=board, url=url, settings=LineSettings())
    try:
        with LineClient(place, config) as client:
            yield client
    finally:
        start.stop(place)
