"""Programs that switch something: run to their end, or ended with all that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence

from labctl.errors import LabctlError

# What is left of a long output; its end says what went wrong.
_MOST = 64 << 10


def run(line: Sequence[str], *, name: str, deadline_s: float) -> tuple[int, str]:
    """Run a program and return its exit code and what it said, both streams together.

    It is the leader of a session of its own, so that all of it ends at the deadline.

    Args:
        line: Program and arguments.
        name: What it is called in messages.
        deadline_s: How long it may take, seconds.

    Raises:
        LabctlError: It could not be started, or did not end in time.
    """
    try:
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise LabctlError(f"{name} cannot be started: {error.strerror}") from None
    try:
        output, _ = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        raise LabctlError(
            f"{name} did not end within {deadline_s:g} s", action="run it by hand"
        ) from None
    finally:
        # A program that went into the background is not left behind either.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    return process.returncode, output[-_MOST:].decode(errors="replace")
