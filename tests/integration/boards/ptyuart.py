"""A board on a pseudo-terminal whose UART has a rate of its own: what does not fit is garbage.

The rate of the other side is what is set on the pseudo-terminal (TCGETS2 on the master end tells of
the slave's settings), and what is sent between the two is worked out bit by bit.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import threading
from collections.abc import Callable
from pathlib import Path

from lines import PtyLine
from resampling import resample

# As in labctl.transport.lines.tty; written out, so that a mistake there is seen.
_TCGETS2 = 0x802C542A
_TERMIOS2 = struct.Struct("=4IB19s2I")


class PtyUart:
    """A board whose UART runs at ``rate``.

    Args:
        folder: Where the link to the terminal lies.
        rate: Of the board, baud.
        answer: Returns what the board says to what it is sent.

    Attributes:
        rates: The rates that the other side set, one after the other, as far as they were seen.
    """

    def __init__(self, folder: Path, rate: int, answer: Callable[[bytes], bytes]) -> None:
        self.line = PtyLine(folder)
        self.rate = rate
        self.rates: list[int] = []
        self._answer = answer
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def path(self) -> Path:
        """The terminal."""
        return self.line.path

    def other(self) -> int:
        """Return the rate that is set on the other side."""
        raw = fcntl.ioctl(self.line.master, _TCGETS2, bytes(_TERMIOS2.size))
        rate = int(_TERMIOS2.unpack(raw)[7])
        if not self.rates or self.rates[-1] != rate:
            self.rates.append(rate)
        return rate

    def say(self, data: bytes) -> None:
        """Let the board say something by itself."""
        os.write(self.line.master, resample(data, self.rate, self.other()))

    def _serve(self) -> None:
        while not self._stop.is_set():
            if not select.select([self.line.master], [], [], 0.05)[0]:
                continue
            sent = os.read(self.line.master, 4096)
            self.say(self._answer(resample(sent, self.other(), self.rate)))

    def close(self) -> None:
        """Take it away."""
        self._stop.set()
        self._thread.join(10)
        self.line.unplug()


class Hush:
    """As much of U-Boot as answers probes: an echo, a prompt, and ``echo`` itself."""

    def __init__(self) -> None:
        self._line = b""

    def __call__(self, typed: bytes) -> bytes:
        said = bytearray()
        for code in typed:
            byte = bytes([code])
            if byte == b"\r":
                said += b"\r\n" + self._run() + b"=> "
            elif byte in (b"\x03", b"\x15"):
                self._line = b""
                said += b"\r\n=> " if byte == b"\x03" else b""
            else:
                self._line += byte
                said += byte
        return bytes(said)

    def _run(self) -> bytes:
        line, self._line = self._line.split(b"#")[0], b""
        if not line.strip().startswith(b"echo "):
            return b""
        return line.strip()[5:].replace(b'"', b"") + b"\r\n"
