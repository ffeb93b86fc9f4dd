"""A board on a serial line, for benchmarks: a program of its own, so that it disturbs nobody.

It runs a command on a pseudo-terminal and carries its bytes to and from a second one, whose name it
prints; that is the port that the contenders open. On the way a byte takes the time that it has on
a serial line, kernel messages come between any two bytes that the board says, and all bytes are
counted in both directions.

Pacing is honest: a byte is on its way for ten bits, one after the other, and is never handed over
early. What is due is handed over every `_TICK_S` (one or two bytes at 115200), as a UART with a
FIFO does. When this process gets no processor time the line stands still, but for `_CREDIT_S`.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import pty
import random
import select
import signal
import subprocess
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from priority import be_hardware

from labctl.errors import LabctlError

# Start bit, eight data bits, stop bit.
BITS = 10
PROMPT = "box:~# "
# What a late wake-up may make good, as a FIFO of a UART does (16 bytes at 115200 are 1.4 ms).
_CREDIT_S = 0.0015
_TICK_S = 0.00015
# Bytes that follow so soon on the last one followed it without a gap: that we saw them late is our
# doing, since the other direction handed over what they answer with a tick.
_STREAM_S = 0.0005
_READ_BYTES = 65536
_START_S = 60.0
# prctl(2): the timer slack is 50 us otherwise, half a byte at 115200.
_PR_SET_TIMERSLACK = 29


def line_seconds(count: float, baud: int) -> float:
    """Return how long ``count`` bytes take on a line."""
    return count * BITS / baud


class Way:
    """One direction: bytes come in and are due a byte's time after the one before.

    Args:
        sink: Descriptor to hand them to.
        byte_s: Time on the line of one byte, seconds; 0 for none.
    """

    def __init__(self, sink: int, byte_s: float) -> None:
        self.sink = sink
        self.count = 0
        self._byte_s = byte_s
        self._free_at = 0.0
        self._handed_at = 0.0
        self._waiting: deque[int] = deque()
        self._rest = b""

    def take(self, data: bytes, now: float) -> None:
        """Take what came in."""
        self.count += len(data)
        if not self._byte_s:
            self._rest += data
            return
        if not self._waiting and now - self._free_at > _STREAM_S:
            self._free_at = now
        self._waiting += data

    def due_in(self, now: float) -> float | None:
        """Return in how many seconds the next byte is due; None where there is none."""
        if not self._waiting:
            return None
        return max(0.0, self._free_at + self._byte_s - now, self._handed_at + _TICK_S - now)

    @property
    def busy(self) -> bool:
        """Whether bytes are on their way."""
        return bool(self._waiting or self._rest)

    @property
    def blocked(self) -> bool:
        """Whether bytes wait for the other side to take them."""
        return bool(self._rest)

    @property
    def full(self) -> bool:
        """Whether no more should be taken in for now."""
        return len(self._rest) + len(self._waiting) > _READ_BYTES

    def hand_over(self, now: float) -> None:
        """Hand over what is due."""
        if self._byte_s and now < self._handed_at + _TICK_S:
            return
        self._free_at = max(self._free_at, now - _CREDIT_S - self._byte_s)
        ready = bytearray()
        while self._waiting and self._free_at + self._byte_s <= now:
            ready.append(self._waiting.popleft())
            self._free_at += self._byte_s
        self._rest += ready
        if self._rest:
            self._handed_at = now
            with contextlib.suppress(BlockingIOError):
                self._rest = self._rest[os.write(self.sink, self._rest) :]


class Noise:
    """Puts kernel messages between bytes, ``rate`` messages a byte."""

    def __init__(self, rate: float, seed: int) -> None:
        self.rate = rate
        self._random = random.Random(seed)

    def disturb(self, data: bytes) -> bytes:
        """Return ``data`` with messages in it."""
        if not self.rate:
            return data
        out = bytearray()
        for byte in data:
            if self._random.random() < self.rate:
                stamp = f"{self._random.uniform(0, 9999):12.6f}"
                out += f"[{stamp}] usb 1-1: new device, address {len(out)}\r\n".encode()
            out.append(byte)
        return bytes(out)


class Idle:
    """For how long nothing was on its way, by who ended the silence: the board or the host."""

    def __init__(self) -> None:
        self.board_s = 0.0
        self.host_s = 0.0
        self._since: float | None = None

    def note(self, now: float, *, busy: bool, board: bool, host: bool) -> None:
        """Note what was seen ``now``: bytes on their way, and who has begun to send."""
        if self._since is not None and (board or host):
            if host:
                self.host_s += now - self._since
            else:
                self.board_s += now - self._since
            self._since = None
        if not busy and self._since is None:
            self._since = now


def carry(board: int, port: int, baud: int, noise: Noise) -> None:
    """Carry bytes between the pseudo-terminals until standard input ends."""
    byte_s = BITS / baud if baud else 0.0
    inward, outward = Way(board, byte_s), Way(port, byte_s)
    idle = Idle()
    while True:
        now = time.monotonic()
        due = [left for way in (inward, outward) if (left := way.due_in(now)) is not None]
        reads = [0] + ([] if inward.full else [port]) + ([] if outward.full else [board])
        writes = [way.sink for way in (inward, outward) if way.blocked]
        ready, _, _ = select.select(reads, writes, [], min(due, default=None))
        now = time.monotonic()
        try:
            if port in ready:
                inward.take(os.read(port, _READ_BYTES), now)
            if board in ready:
                outward.take(noise.disturb(os.read(board, _READ_BYTES)), now)
        except OSError:
            return  # the board's program has ended
        inward.hand_over(now)
        outward.hand_over(now)
        busy = inward.busy or outward.busy
        idle.note(now, busy=busy, board=board in ready, host=port in ready)
        if 0 in ready and not _asked(noise, inward, outward, idle):
            return


def _asked(noise: Noise, inward: Way, outward: Way, idle: Idle) -> bool:
    """Answer one question; return False when nobody is there to ask more."""
    words = os.read(0, 256).split()
    if not words:
        return False
    if words[0] == b"noise":
        noise.rate = float(words[1])
    _tell(
        {"to_board": inward.count, "from_board": outward.count,
         "board_s": idle.board_s, "host_s": idle.host_s}
    )  # fmt: skip
    return True


def _tell(message: dict[str, object]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def main() -> int:
    """Run the board."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--baud", type=int, default=0, help="rate of the line (default: no limit)")
    parser.add_argument("--noise", type=float, default=0.0, help="kernel messages for each byte")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    pid, board = pty.fork()
    if pid == 0:
        environment = {"PATH": os.environ["PATH"], "PS1": PROMPT, "HOME": "/tmp", "TERM": "vt100"}
        os.execvpe(options.command[0], options.command, environment)
    if options.baud:
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
        be_hardware()
    port, slave = pty.openpty()
    tty.setraw(slave, termios.TCSANOW)
    for end in (port, board):
        os.set_blocking(end, False)
    _tell({"port": os.ttyname(slave)})
    try:
        carry(board, port, options.baud, Noise(options.noise, options.seed))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return 0


# -- the other side: for benchmarks ---------------------------------------------------------------


@dataclass(frozen=True)
class Count:
    """Bytes that went over a line.

    Attributes:
        to_board: Towards the board.
        from_board: From it, its echo included.
        board_s: Seconds in which the line was idle until the board said something.
        host_s: Seconds in which it was idle until the host did.
    """

    to_board: int
    from_board: int
    board_s: float
    host_s: float

    def __sub__(self, other: Count) -> Count:
        """Return the difference."""
        return Count(
            self.to_board - other.to_board,
            self.from_board - other.from_board,
            self.board_s - other.board_s,
            self.host_s - other.host_s,
        )


class Wire:
    """A running board: its port, and what is to be known of it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.port = str(self._read()["port"])

    def count(self) -> Count:
        """Return what went over the line so far."""
        return self._ask("count")

    def noise(self, rate: float) -> None:
        """Let the kernel talk, ``rate`` messages a byte."""
        self._ask(f"noise {rate}")

    def _ask(self, question: str) -> Count:
        assert self._process.stdin
        self._process.stdin.write(question.encode() + b"\n")
        self._process.stdin.flush()
        said = self._read()
        return Count(
            int(said["to_board"]), int(said["from_board"]), said["board_s"], said["host_s"]
        )

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], _START_S)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            raise LabctlError("the board's program has ended or does not answer", thing="wire.py")
        said: dict[str, Any] = json.loads(line)
        return said


@contextlib.contextmanager
def wire(command: Sequence[str], *, baud: int = 0, noise: float = 0.0) -> Iterator[Wire]:
    """Run ``command`` behind a line.

    Args:
        command: What the board is.
        baud: Rate of the line; 0 for no limit.
        noise: Kernel messages for each byte.
    """
    words = [sys.executable, __file__, "--baud", str(baud), "--noise", str(noise), "--", *command]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield Wire(process)
    finally:
        assert process.stdin and process.stdout
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


if __name__ == "__main__":
    sys.exit(main())
