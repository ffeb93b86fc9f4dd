"""A program that plays a board, run for the length of a test or a measurement, without the lab."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from labctl.errors import LabctlError

_START_S = 30.0
_END_S = 10.0


@contextlib.contextmanager
def started(module: str, folder: Path, settings: Mapping[str, object]) -> Iterator[Path]:
    """Run a board, switched off, while the block runs; yields its monitor's socket.

    Args:
        module: The program's module, such as ``labctl.vlab.scripted``.
        folder: The board's folder.
        settings: Its settings.

    Raises:
        LabctlError: It did not start; the message is its own.
    """
    process = subprocess.Popen(
        [
            sys.executable, "-m", module, "--folder", str(folder), "--name", "test",
            "--pidfile", str(folder / "pid"), "--settings", json.dumps(dict(settings)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        monitor = folder / "qmp.sock"
        _wait(process, monitor)
        yield monitor
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], monitor: Path) -> None:
    """Wait until the socket, which the program makes last, is there, or the program has ended."""
    ended = os.pidfd_open(process.pid)
    try:
        waited_s = 0.0
        while not monitor.exists():
            if select.select([ended], [], [], 0.01)[0]:
                assert process.stderr
                raise LabctlError(process.stderr.read().decode().strip(), thing="played board")
            waited_s += 0.01
            if waited_s > _START_S:
                raise LabctlError("it did not start in time", thing="played board")
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
