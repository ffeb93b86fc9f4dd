"""A channel on a pseudo-terminal with a real program behind it, and a wire that misbehaves."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence

Wire = Callable[[bytes], bytes]


def clear(data: bytes) -> bytes:
    """Pass everything on."""
    return data


class PtyChannel:
    """See `labctl.boards.channel.Channel`; ``inward`` and ``outward`` are the wires."""

    def __init__(self, master: int, inward: Wire = clear, outward: Wire = clear) -> None:
        self.master = master
        self.inward = inward
        self.outward = outward
        self.offset = 0
        self.written = 0

    def read(self, timeout: float) -> bytes:
        ready, _, _ = select.select([self.master], [], [], timeout)
        if not ready:
            return b""
        data = self.outward(os.read(self.master, 65536))
        self.offset += len(data)
        # A wire may swallow everything; that is not the end of the wait.
        return data or self.read(0)

    def write(self, data: bytes) -> None:
        self.written += len(data)
        passed = self.inward(data)
        while passed:
            passed = passed[os.write(self.master, passed) :]

    def send_break(self, seconds: float) -> None:
        raise NotImplementedError


@contextlib.contextmanager
def program(
    command: Sequence[str], inward: Wire = clear, outward: Wire = clear
) -> Iterator[PtyChannel]:
    """Run a program on a pseudo-terminal."""
    pid, master = pty.fork()
    if pid == 0:
        environment = {
            "PATH": os.environ["PATH"],
            "PS1": "box:~# ",
            "HOME": "/tmp",
            "TERM": "vt100",
        }
        # A test run in the background ignores Ctrl-C, and its children would too.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execvpe(command[0], list(command), {**environment, "TERM": "vt100"})
    try:
        yield PtyChannel(master, inward, outward)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.close(master)
        os.waitpid(pid, 0)


class KernelNoise:
    """Puts kernel messages between any two bytes, at a rate in fractions of a byte."""

    def __init__(self, rate: float, seed: int) -> None:
        self._rate = rate
        self._random = random.Random(seed)
        self.lines: list[bytes] = []

    def __call__(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            if self._random.random() < self._rate:
                stamp = f"{self._random.uniform(0, 99999):12.6f}"
                line = f"[{stamp}] usb 1-1: device {self._random.randrange(99)} says #! => x"
                self.lines.append(line.encode())
                out += line.encode() + b"\r\n"
            out.append(byte)
        return bytes(out)


class Lossy:
    """Loses bytes at a rate."""

    def __init__(self, rate: float, seed: int) -> None:
        self._rate = rate
        self._random = random.Random(seed)

    def __call__(self, data: bytes) -> bytes:
        return bytes(byte for byte in data if self._random.random() >= self._rate)


class FlipsOne:
    """Damages one byte of all that comes after something was sent: the one at ``place``."""

    def __init__(self, place: int) -> None:
        self._place = place
        self._passed = 0

    def inward(self, data: bytes) -> bytes:
        self._passed = 0
        return data

    def outward(self, data: bytes) -> bytes:
        at = self._place - self._passed
        self._passed += len(data)
        if 0 <= at < len(data):
            return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        return data


def drain(channel: PtyChannel, quiet_s: float = 0.3) -> bytes:
    """Read until nothing comes for a moment: a program that has just been started."""
    parts = []
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (data := channel.read(quiet_s)):
        parts.append(data)
    return b"".join(parts)
