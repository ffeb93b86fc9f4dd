"""A simulated chip's board for the length of a test or a measurement, without the lab."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.errors import LabctlError
from labctl.transport import qmp

_START_S = 30.0
_END_S = 10.0
_ANSWER_S = 10.0


@dataclass(frozen=True)
class Running:
    """A board that runs.

    Attributes:
        url: Its line, in the forms of an inventory's ``line``.
        monitor: Its monitor's socket.
        folder: Its folder; ``flash.bin`` in it is what its flash holds.
    """

    url: str
    monitor: Path
    folder: Path

    def ask(self, command: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Run one command of its monitor; see `labctl.transport.qmp.execute`."""
        return qmp.execute(self.monitor, command, arguments, timeout_s=_ANSWER_S)

    def flash(self) -> bytes:
        """Return what its flash holds now."""
        return (self.folder / "flash.bin").read_bytes()

    def into_rom(self) -> None:
        """Reset an STM32 with BOOT0 high, or switch it on so."""
        self.ask("x-pins", boot0=True)
        self.ask("cont")
        self.ask("system_reset")


@contextlib.contextmanager
def running(settings: Mapping[str, object], folder: Path | None = None) -> Iterator[Running]:
    """Run a board, switched off, while the block runs.

    Args:
        settings: As in `labctl.vlab.rom.settings.Settings`.
        folder: Its folder, for one that keeps its flash; by default one that is thrown away.

    Raises:
        LabctlError: It did not start; the message is its own.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="rom-"))
            folder = Path(name)
        process = subprocess.Popen(
            [
                sys.executable, "-m", "labctl.vlab.rom", "--folder", str(folder), "--name", "test",
                "--pidfile", str(folder / "pid"), "--settings", json.dumps(dict(settings)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        stack.callback(_end, process)
        monitor = folder / "qmp.sock"
        _wait(process, monitor)
        yield Running((folder / "line").read_text().strip(), monitor, folder)


def _wait(process: subprocess.Popen[bytes], monitor: Path) -> None:
    """Wait until the socket, which the program makes last, is there, or the program has ended."""
    ended = os.pidfd_open(process.pid)
    try:
        waited_s = 0.0
        while not monitor.exists():
            if select.select([ended], [], [], 0.01)[0]:
                assert process.stderr
                raise LabctlError(process.stderr.read().decode().strip(), thing="simulated board")
            waited_s += 0.01
            if waited_s > _START_S:
                raise LabctlError("it did not start in time", thing="simulated board")
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
