"""Our side of the console benchmarks: a session on a line, through its owner or without."""

from __future__ import annotations

import contextlib
import os
import re
import select
import tempfile
import termios
import time
import tty
from collections.abc import Iterator
from pathlib import Path

from wire import PROMPT

from labctl.boards.client import LineClient
from labctl.boards.dialects.base import Dialect
from labctl.boards.dialects.posix_shell import PosixShell
from labctl.boards.dialects.uboot import UBootShell
from labctl.boards.owner import start
from labctl.boards.owner.place import OwnerConfig, Place
from labctl.boards.session import Session
from labctl.boards.signs import Signs
from labctl.errors import LabctlError
from labctl.transport.lines.opening import canonical
from labctl.transport.lines.settings import LineSettings

UBOOT_PROMPT = "=> "
SHELL = Signs(shell_prompt=re.compile(re.escape(PROMPT).encode()))
UBOOT = Signs(uboot_prompt=re.compile(re.escape(UBOOT_PROMPT).encode()))


class Port:
    """A `labctl.boards.channel.Channel` on a port that this process has opened itself."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._file, termios.TCSANOW)
        self.offset = 0

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._file

    def read(self, timeout: float) -> bytes:
        """Return what came within ``timeout`` seconds."""
        if not select.select([self._file], [], [], timeout)[0]:
            return b""
        data = os.read(self._file, 65536)
        self.offset += len(data)
        return data

    def write(self, data: bytes) -> None:
        """Send ``data``."""
        while data:
            data = data[os.write(self._file, data) :]

    def send_break(self, seconds: float) -> None:
        """Do nothing: a pseudo-terminal has no break."""

    def close(self) -> None:
        """Close it."""
        os.close(self._file)


@contextlib.contextmanager
def port(path: str) -> Iterator[Port]:
    """Open a port without an owner."""
    channel = Port(path)
    try:
        yield channel
    finally:
        channel.close()


@contextlib.contextmanager
def owned(url: str, *, lease: bool = True) -> Iterator[LineClient]:
    """Attach to a line through an owner that ends with the block."""
    with tempfile.TemporaryDirectory(prefix="labctl-bench-") as folder:
        place = Place(canonical(url), Path(folder))
        # An owner that outlived a killed benchmark would read along on the next one's terminal.
        config = OwnerConfig("bench", url, LineSettings(), until=f"/proc/{os.getpid()}")
        try:
            with LineClient(place, config) as client:
                client.follow(0)
                if lease:
                    client.acquire("bench")
                yield client
        finally:
            start.stop(place)


def session(channel: LineClient | Port, dialect: Dialect | None = None) -> Session:
    """Return a conversation with the shell, or the U-Boot, behind ``channel``."""
    dialect = dialect or PosixShell()
    signs = UBOOT if isinstance(dialect, UBootShell) else SHELL
    return Session(channel, dialect, signs, "bench")


def await_prompt(
    channel: LineClient | Port, prompt: bytes, most_s: float = 60.0, *, exact: bool = True
) -> None:
    """Read until the board's prompt is the last (``exact``), or has been seen.

    Raises:
        LabctlError: It did not come.
    """
    deadline = time.monotonic() + most_s
    said = b""
    while not (said.endswith(prompt) if exact else prompt in said):
        if time.monotonic() > deadline:
            raise LabctlError(f"no prompt came: {said[-200:]!r}")
        said = (said + channel.read(1.0))[-4096:]
