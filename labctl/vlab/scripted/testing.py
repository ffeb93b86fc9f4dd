"""A scripted board for the length of a test or a measurement, without the lab."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from labctl.errors import LabctlError
from labctl.vlab.scripted.control import ask

_START_S = 20.0
_END_S = 10.0


@contextlib.contextmanager
def running(
    settings: Mapping[str, object] | None = None, *, power: bool = False
) -> Iterator[tuple[Path, Path]]:
    """Run a scripted board while the block runs.

    Args:
        settings: As in `labctl.vlab.scripted.settings.Settings`.
        power: Switch it on at once; otherwise ``cont`` on its monitor does.

    Yields:
        The link to its line's tty and its monitor's socket. A line that is opened before the power
        comes on misses nothing.

    Raises:
        LabctlError: It did not start; the message is its own.
    """
    # A short path: both names are used where 108 bytes are the limit.
    with tempfile.TemporaryDirectory(prefix="scripted-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        console, monitor = folder / "console", folder / "qmp.sock"
        process = subprocess.Popen(
            [
                sys.executable, "-m", "labctl.vlab.scripted", "--folder", name, "--name", "test",
                "--pidfile", str(folder / "pid"), "--settings", json.dumps(dict(settings or {})),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        stack.callback(_end, process)
        _wait(process, monitor)
        if power:
            ask(monitor, "cont")
        yield console, monitor


def _wait(process: subprocess.Popen[bytes], monitor: Path) -> None:
    """Wait until the socket, which the program makes last, is there, or the program has ended."""
    ended = os.pidfd_open(process.pid)
    try:
        waited_s = 0.0
        while not monitor.exists():
            if select.select([ended], [], [], 0.01)[0]:
                assert process.stderr
                raise LabctlError(process.stderr.read().decode().strip(), thing="scripted board")
            waited_s += 0.01
            if waited_s > _START_S:
                raise LabctlError("it did not start in time", thing="scripted board")
    finally:
        os.close(ended)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stderr
    process.stderr.close()
