"""What the programs that play boards have in common: their arguments and how they are ended."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from labctl.errors import LabctlError, UsageError

# Gets the board's folder, its name, the file for its process id, and its settings.
Run = Callable[[Path, str, Path, dict[str, Any]], None]


class Loop(Protocol):
    """What is needed of a program's loop."""

    def watch(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call when ``descriptor`` is readable."""
        ...

    def stop(self) -> None:
        """End it."""
        ...


def end_on_signals(loop: Loop) -> None:
    """Let SIGTERM, SIGINT and SIGHUP end ``loop``, also while it waits."""
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: loop.stop())
    loop.watch(wake_read, lambda: None)


def main(module: str, description: str | None, page: str, run: Run) -> int:
    """Read the arguments, ``run`` the board, and return the exit code.

    Args:
        module: The program's module, as after ``python -m``.
        description: What it is.
        page: Page of the documentation that has its settings.
        run: Runs the board until it is told to end.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--folder", type=Path, required=True, help="the board's folder")
    parser.add_argument("--name", required=True, help="the board's name")
    parser.add_argument("--pidfile", type=Path, required=True, help="where its process id goes")
    parser.add_argument("--settings", default="{}", help=f"JSON; see {page}")
    options = parser.parse_args()
    try:
        settings = _object(options.settings)
        run(options.folder.absolute(), options.name, options.pidfile, settings)
    except LabctlError as error:
        sys.stderr.write(f"labctl: {error}\n")
        return int(error.exit_code)
    except OSError as error:
        sys.stderr.write(f"labctl: {options.folder}: {error.strerror}\n")
        return 1
    return 0


def _object(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UsageError(f"not JSON: {error}", thing="--settings") from None
    if not isinstance(values, dict):
        raise UsageError("not a JSON object", thing="--settings")
    return values
