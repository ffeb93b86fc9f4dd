"""``python -m labctl.vlab.scripted``: run one scripted board until SIGTERM or QMP ``quit``.

It leaves ``console`` (link to its line's tty) and ``qmp.sock`` in its folder while it runs, starts
switched off, and is quiet: mistakes in its arguments are one line on standard error, exit code 2.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from labctl.fileio import write_atomic
from labctl.vlab import program
from labctl.vlab.program import end_on_signals
from labctl.vlab.scripted.board import Board
from labctl.vlab.scripted.loop import Loop
from labctl.vlab.scripted.monitor import Monitor
from labctl.vlab.scripted.settings import Settings


def _run(folder: Path, name: str, pidfile: Path, values: dict[str, Any]) -> None:
    settings = Settings().changed(values)
    loop = Loop()
    monitors: list[Monitor] = []

    def tell(event: str) -> None:
        for monitor in monitors:
            monitor.event(event)

    board = Board(folder, settings, loop, tell)
    try:
        # The socket comes last: whoever finds it finds all the rest.
        write_atomic(pidfile, f"{os.getpid()}\n", mode=0o644)
        monitors.append(Monitor(folder / "qmp.sock", name, loop, board))
        end_on_signals(loop)
        loop.run(board.service)
    finally:
        board.close()
        for monitor in monitors:
            monitor.close()
        pidfile.unlink(missing_ok=True)


def main() -> int:
    """Run the program; return its exit code."""
    return program.main("labctl.vlab.scripted", __doc__, "docs/scripted-board.md", _run)


if __name__ == "__main__":
    sys.exit(main())
