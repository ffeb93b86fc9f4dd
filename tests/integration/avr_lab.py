"""A virtual Arduino Uno for the length of a test, without the lab: simavr and optiboot."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import termios
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from labctl.errors import DependencyError
from labctl.transport import qmp
from labctl.vlab.avr import board
from labctl.vlab.avr.build import Built, build
from labctl.vlab.avr.parts import AvrModel
from labctl.vlab.board_model import read_virtual

BLINK = Path(__file__).parents[2] / "boards/arduino-uno/blink"
GREETING = b"Hello from blink on the Uno\r\n"
DEADLINE_S = 60.0
_MODEL = read_virtual("arduino-uno", None)
assert isinstance(_MODEL, AvrModel)
UNO = _MODEL


def why_not() -> str:
    """Return why there can be no such board here; empty if there can."""
    try:
        build(UNO)
    except DependencyError as error:
        return str(error)
    return "" if shutil.which("avrdude") else "avrdude is not installed"


class Uno:
    """One, in a folder of its own."""

    def __init__(self, folder: Path, built: Built) -> None:
        self.folder = folder
        self.built = built
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def line(self) -> Path:
        return board.line_link(self.folder)

    @property
    def monitor(self) -> Path:
        return board.monitor(self.folder)

    @property
    def flash(self) -> bytes:
        return board.flash_file(self.folder).read_bytes()

    def start(self) -> None:
        self.process = board.launch(self.folder, "uno", self.folder / "pid", UNO, self.built)

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(10)

    def tell(self, command: str) -> Any:
        return qmp.execute(self.monitor, command)

    def avrdude(self, *words: str, baud: int = 115200) -> subprocess.CompletedProcess[str]:
        """Run it; again, as people do, where it came too late for the loader's one second.

        The board is reset when its line is opened; on a busy machine avrdude may be kept from
        speaking for longer than the boot loader listens.
        """
        for _ in range(3):
            done = subprocess.run(
                ["avrdude", "-p", "atmega328p", "-c", "arduino", "-P", str(self.line),
                 "-b", str(baud), *words],
                capture_output=True, text=True, timeout=DEADLINE_S, check=False,
            )  # fmt: skip
            if "not responding" not in done.stderr:
                break
        return done


@contextlib.contextmanager
def running(folder: Path, *, power: bool = True) -> Iterator[Uno]:
    """Run one in ``folder``."""
    uno = Uno(folder, build(UNO))
    uno.start()
    try:
        if power:
            uno.tell("cont")
        yield uno
    finally:
        uno.end()


class Port:
    """The line, opened as any program opens it."""

    def __init__(self, uno: Uno, baud: int) -> None:
        self.fd = os.open(uno.line, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.fd)
        settings = termios.tcgetattr(self.fd)
        settings[4] = settings[5] = getattr(termios, f"B{baud}")
        termios.tcsetattr(self.fd, termios.TCSANOW, settings)
        self.heard = b""

    def read_until(self, wanted: bytes) -> bytes:
        return self._read(lambda: wanted in self.heard)

    def read_at_least(self, count: int) -> bytes:
        return self._read(lambda: len(self.heard) >= count)

    def _read(self, enough: Callable[[], bool]) -> bytes:
        end = time.monotonic() + DEADLINE_S
        while not enough():
            assert select.select([self.fd], [], [], max(0.0, end - time.monotonic()))[0], self.heard
            self.heard += os.read(self.fd, 4096)
        heard, self.heard = self.heard, b""
        return heard

    def write(self, data: bytes) -> None:
        os.write(self.fd, data)

    def __enter__(self) -> Port:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
