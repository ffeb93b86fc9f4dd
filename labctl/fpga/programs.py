"""Run a program to its end or to a deadline, with all that it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

# Bytes of output that are kept; a program that says more says the same again.
MAX_OUTPUT = 4 * 1024 * 1024


def run_bounded(
    command: Sequence[str], *, cwd: Path, deadline_s: float, env: Mapping[str, str] | None = None
) -> tuple[int | None, bytes]:
    """Run ``command``; return its exit code and what it said on both streams.

    Args:
        command: The program and its arguments.
        cwd: Its working directory.
        deadline_s: Seconds that it may take; then its process group is killed.
        env: Its environment; ours if not given.

    Returns:
        The exit code, None if it was killed at the deadline; and the output.

    Raises:
        OSError: It cannot be started.
    """
    # A file and not a pipe: a grandchild that keeps a pipe open would keep us waiting.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        code: int | None
        try:
            code = process.wait(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        return code, output.read(MAX_OUTPUT)
