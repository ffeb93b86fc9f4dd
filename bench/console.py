"""The console engine beside plain pexpect, on a real shell on a pseudo-terminal.

Noise: sixty commands while kernel messages come between any two bytes at 0.5 %. Output: processor
time of the reader for 1 MiB of output. Owner: from a pseudo-terminal into record and a reader.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import random
import re
import select
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
from harness import Aim, Report, Say, argument_parser, run_bench

from labctl.boards.client import LineClient
from labctl.boards.dialects.posix_shell import PosixShell
from labctl.boards.owner import start
from labctl.boards.owner.place import OwnerConfig, Place
from labctl.boards.session import Session
from labctl.boards.signs import Signs
from labctl.errors import LabctlError
from labctl.transport.lines.settings import LineSettings

COMMANDS = 60
NOISE = 0.005
MIB = 1 << 20
AIMS = {
    "ours": Aim(60, at_most=False),
    "silently wrong": Aim(0),
    "CPU seconds for 1 MiB of output": Aim(1.0),
    "CPU for 4 MiB / for 1 MiB": Aim(5.0),
    "MiB/s from a pseudo-terminal to record and reader": Aim(20.0, at_most=False),
    "seconds to attach to an idle shell": Aim(0.1),
}
PROMPT = "box:~# "


class Wire:
    """A shell on a pseudo-terminal; its outward bytes may carry kernel messages."""

    def __init__(self, master: int, noise: float) -> None:
        self.master = master
        self.offset = 0
        self._noise = noise
        self._random = random.Random(1)

    def read(self, timeout: float) -> bytes:
        """Return what came within ``timeout`` seconds."""
        if not select.select([self.master], [], [], timeout)[0]:
            return b""
        data = os.read(self.master, 65536)
        self.offset += len(data)
        return self.disturb(data) if self._noise else data

    def disturb(self, data: bytes) -> bytes:
        """Return ``data`` with kernel messages between its bytes."""
        out = bytearray()
        for byte in data:
            if self._random.random() < self._noise:
                stamp = f"{self._random.uniform(0, 9999):12.6f}"
                out += f"[{stamp}] usb 1-1: new device, address {len(out)}\r\n".encode()
            out.append(byte)
        return bytes(out)

    def write(self, data: bytes) -> None:
        """Send ``data``."""
        while data:
            data = data[os.write(self.master, data) :]

    def send_break(self, seconds: float) -> None:
        """Do nothing: a pseudo-terminal has no break."""


@contextlib.contextmanager
def shell(noise: float = 0.0) -> Iterator[Wire]:
    """Run dash on a pseudo-terminal."""
    pid, master = pty.fork()
    if pid == 0:
        os.execvpe("dash", ["dash", "-i"], {"PATH": os.environ["PATH"], "PS1": PROMPT})
    try:
        wire = Wire(master, 0.0)
        while not wire.read(1.0).endswith(PROMPT.encode()):
            pass
        wire._noise = noise
        yield wire
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(master)


def session(wire: Wire) -> Session:
    """Return our conversation with the shell."""
    return Session(
        wire, PosixShell(), Signs(shell_prompt=re.compile(re.escape(PROMPT).encode())), "bench"
    )


def wanted(number: int) -> bytes:
    """Return what command ``number`` prints."""
    return "".join(f"{one}\n" for one in range(number, number + 25)).encode()


def ours_noise() -> tuple[int, int]:
    """Return how many answers were right, and how many were wrong without a word."""
    right = wrong = 0
    with shell(NOISE) as wire:
        talk = session(wire)
        for number in range(COMMANDS):
            with contextlib.suppress(LabctlError):
                result = talk.run(f"seq {number} {number + 24}; (exit {number})", timeout=30)
                fine = (result.output, result.exit_code) == (wanted(number), number)
                right, wrong = right + fine, wrong + (not fine)
    return right, wrong


def pexpect_noise() -> tuple[int, int]:
    """Do the same as a person writes it with pexpect: send, expect the prompt, cut the echo."""
    right = wrong = 0
    with shell() as wire:
        child = _Noisy(wire)
        for number in range(COMMANDS):
            try:
                child.sendline(f"seq {number} {number + 24}; (exit {number})")
                child.expect_exact(PROMPT, timeout=3)
                output = (child.before or b"").partition(b"\r\n")[2].replace(b"\r\n", b"\n")
                child.sendline("echo $?")
                child.expect_exact(PROMPT, timeout=3)
                code = (child.before or b"").partition(b"\r\n")[2].strip()
            except pexpect.ExceptionPexpect:
                continue
            fine = output == wanted(number) and code == str(number).encode()
            right, wrong = right + fine, wrong + (not fine)
    return right, wrong


if TYPE_CHECKING:
    _Base = pexpect.spawnbase.SpawnBase[bytes]
else:
    _Base = pexpect.spawnbase.SpawnBase  # takes no parameter when the program runs


class _Noisy(_Base):
    """pexpect on a wire."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(timeout=3)
        self._wire = wire
        wire._noise = NOISE

    def sendline(self, text: str) -> None:
        """Send a line."""
        self._wire.write(text.encode() + b"\r")

    def read_nonblocking(self, size: int = 1, timeout: float | None = None) -> bytes:
        """Return what came."""
        data = self._wire.read(3.0 if timeout is None or timeout < 0 else timeout)
        if not data:
            raise pexpect.TIMEOUT("nothing came")
        return data


def output_cpu(size: int) -> float:
    """Return our processor seconds for ``size`` bytes of output."""
    with shell() as wire:
        talk = session(wire)
        talk.run("true", timeout=10)
        before = time.process_time()
        result = talk.run(f"head -c {size} /dev/zero | tr '\\0' x | fold -w 79", timeout=120)
        spent = time.process_time() - before
        if len(result.output) < size or not result.checked:
            raise LabctlError("the output did not arrive whole")
    return spent


def attach_seconds() -> float:
    """Return the seconds until an idle shell has proved itself."""
    with shell() as wire:
        talk = session(wire)
        began = time.monotonic()
        if not talk.probe(5.0):
            raise LabctlError("the shell does not answer")
        return time.monotonic() - began


def owner_rate(size: int) -> float:
    """Return MiB a second from a pseudo-terminal into the record and one reader."""
    with tempfile.TemporaryDirectory(prefix="labctl-bench-") as folder:
        master, slave = pty.openpty()
        url = os.ttyname(slave)
        place = Place(url, Path(folder))
        try:
            with LineClient(place, OwnerConfig("bench", url, LineSettings())) as client:
                client.follow(0)
                block = bytes(range(256)) * 256

                def send() -> None:
                    left = size
                    while left:
                        left -= os.write(master, block[: min(left, len(block))])

                sender = threading.Thread(target=send)
                began = time.monotonic()
                sender.start()
                count = 0
                while count < size:
                    data = client.read(10.0)
                    if not data:
                        raise LabctlError(f"{size - count} bytes were lost")
                    count += len(data)
                seconds = time.monotonic() - began
                sender.join()
                if client.record.end != size:
                    raise LabctlError("the record is not whole")
        finally:
            start.stop(place)
            os.close(master)
            os.close(slave)
    return size / MIB / seconds


def measure(options: argparse.Namespace, say: Say) -> Report:
    """Run everything once; what counts is right answers and bytes, not a median."""
    say("  sixty commands through kernel messages: ours, then pexpect")
    right, wrong = ours_noise()
    peer_right, peer_wrong = pexpect_noise()
    say("  much output")
    small, large = output_cpu(MIB), output_cpu(4 * MIB)
    say("  the owner at full speed")
    rate = owner_rate(64 * MIB)
    return Report(
        bench="console",
        unit=f"right answers of {COMMANDS}",
        ours=float(right),
        peers={"pexpect": float(peer_right)},
        ratios={
            "silently wrong": float(wrong),
            "silently wrong, pexpect": float(peer_wrong),
            "CPU seconds for 1 MiB of output": small,
            "CPU for 4 MiB / for 1 MiB": large / small,
            "MiB/s from a pseudo-terminal to record and reader": rate,
            "seconds to attach to an idle shell": attach_seconds(),
        },
        aims=AIMS,
    )


def main() -> int:
    """Read the command line and run."""
    options = argument_parser((__doc__ or "").partition("\n")[0], runs=1).parse_args()
    return run_bench(options, partial(measure, options))


if __name__ == "__main__":
    sys.exit(main())
