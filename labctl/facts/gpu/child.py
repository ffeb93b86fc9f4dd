"""A program that is read from until a deadline, and left behind after it.

Without `subprocess`, whose import alone takes as long as reading several cards.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from labctl.facts.sent.child import drain, finish


def output_of(command: Sequence[str], *, seconds: float) -> str | None:
    """Return what ``command`` prints; None if it is not there, or not done in ``seconds``."""
    if not hasattr(os, "posix_spawnp"):
        return _output_in_old_python(command, seconds)
    reading, writing = os.pipe()
    try:
        child = os.posix_spawnp(
            command[0],
            list(command),
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, writing, 1),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
        )
    except OSError:
        os.close(reading)
        return None
    finally:
        os.close(writing)
    said, whole = drain(reading, time.monotonic() + seconds)
    os.close(reading)
    finish(child, whole=whole)
    return said.decode(errors="replace") if whole else None


def _output_in_old_python(command: Sequence[str], seconds: float) -> str | None:
    """Python 3.7 of other hosts has no posix_spawnp."""
    import subprocess  # noqa: PLC0415

    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=seconds,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace")
