"""``python -m labctl.vlab.scripted``: run one scripted board until SIGTERM or QMP ``quit``.

It leaves ``console`` (link to its line's tty) and ``qmp.sock`` in its folder while it runs, starts
switched off, and is quiet: mistakes in its arguments are one line on standard error, exit code 2.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from labctl.errors import LabctlError, UsageError
from labctl.fileio import write_atomic
from labctl.vlab.scripted.board import Board
from labctl.vlab.scripted.loop import Loop
from labctl.vlab.scripted.monitor import Monitor
from labctl.vlab.scripted.settings import Settings


def _settings(text: str) -> Settings:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UsageError(f"not JSON: {error}", thing="--settings") from None
    if not isinstance(values, dict):
        raise UsageError("not a JSON object", thing="--settings")
    return Settings().changed(values)


def _run(folder: Path, name: str, pidfile: Path, settings: Settings) -> None:
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
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: loop.stop())
        loop.watch(wake_read, lambda: None)
        loop.run(board.service)
    finally:
        board.close()
        for monitor in monitors:
            monitor.close()
        pidfile.unlink(missing_ok=True)


def main() -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m labctl.vlab.scripted", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="the board's folder")
    parser.add_argument("--name", required=True, help="the board's name")
    parser.add_argument("--pidfile", type=Path, required=True, help="where its process id goes")
    parser.add_argument("--settings", default="{}", help="JSON; see docs/scripted-board.md")
    options = parser.parse_args()
    try:
        _run(options.folder.absolute(), options.name, options.pidfile, _settings(options.settings))
    except LabctlError as error:
        sys.stderr.write(f"labctl: {error}\n")
        return int(error.exit_code)
    except OSError as error:
        sys.stderr.write(f"labctl: {options.folder}: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
