"""Requests and answers in frames, as `frame_link` has them, over any stream of bytes.

    A5  SEQ  OP  LEN  PAYLOAD (LEN bytes)  CRC-16/IBM-3740, high byte first

`Link` asks again when an answer does not come or is damaged, unless it is told not to.
"""

import binascii
import os
import select
import termios
import time
import tty
from pathlib import Path

MARK = 0xA5
REFUSED = 0xFF
REASONS = {1: "wrong CRC", 2: "unknown request", 3: "wrong length"}
BAD_CRC = 1
MAX_PAYLOAD = 255


class FrameError(Exception):
    """The design refused a request, or did not answer."""


def frame(seq: int, op: int, payload: bytes = b"") -> bytes:
    """One frame; `crc_hqx` from 0xFFFF is CRC-16/IBM-3740."""
    assert len(payload) <= MAX_PAYLOAD
    body = bytes((seq, op, len(payload))) + payload
    return bytes((MARK,)) + body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big")


def split(data: bytes) -> tuple[tuple[int, int, bytes] | None, bytes]:
    """The first whole frame in `data` as (seq, op, payload), or None; and what is left.

    What is no frame is skipped byte by byte.
    """
    while True:
        at = data.find(MARK)
        if at < 0:
            return None, b""
        data = data[at:]
        if len(data) < 4 or len(data) < 6 + data[3]:
            return None, data
        end = 6 + data[3]
        if binascii.crc_hqx(data[1:end], 0xFFFF) == 0:
            return (data[1], data[2], data[4 : end - 2]), data[end:]
        data = data[1:]


class Link:
    """A line to a design.

    Args:
        path: a serial device, or a link to one, as `labctl fpga bridge --link` makes it.
        baud: its rate; of no importance on a pseudo-terminal.
        answer_s: how long to wait for an answer, in seconds.
        tries: how often to send a request.
    """

    def __init__(
        self, path: str | Path, baud: int = 115200, answer_s: float = 5.0, tries: int = 3
    ) -> None:
        self.answer_s = answer_s
        self.tries = tries
        self._seq = 0
        self._got = b""
        self._file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._file)
        settings = termios.tcgetattr(self._file)
        settings[4] = settings[5] = getattr(termios, f"B{baud}")
        termios.tcsetattr(self._file, termios.TCSANOW, settings)
        termios.tcflush(self._file, termios.TCIOFLUSH)

    def __enter__(self) -> "Link":
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._file)

    def request(self, op: int, payload: bytes = b"", *, once: bool = False) -> bytes:
        """Ask, and return the payload of the answer.

        Args:
            op: what to do.
            payload: at most 255 bytes.
            once: do not send it again, where it does not bear to be carried out twice.

        Raises:
            FrameError: it was refused, or there was no answer.
        """
        why = ""
        for _ in range(1 if once else self.tries):
            self._seq = (self._seq + 1) % 256
            self._write(frame(self._seq, op, payload))
            answer = self._answer(self._seq)
            if answer is None:
                why = f"no answer in {self.answer_s:g} s"
            elif answer[0] == REFUSED:
                reason = answer[1][0]
                why = REASONS.get(reason, f"reason {reason}")
                if reason != BAD_CRC:
                    break
            elif answer[0] == op | 0x80:
                return answer[1]
            else:
                why = f"answered with OP {answer[0]:#04x}"
        raise FrameError(f"request {op:#04x}: {why}")

    def _answer(self, seq: int) -> tuple[int, bytes] | None:
        deadline = time.monotonic() + self.answer_s
        while True:
            found, self._got = split(self._got)
            if found is not None:
                # An older one is late, and nobody waits for it any more.
                if found[0] == seq:
                    return found[1], found[2]
                continue
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._file], [], [], left)[0]:
                self._got = b""
                return None
            data = os.read(self._file, 4096)
            if not data:
                raise FrameError("the line has gone")
            self._got += data

    def _write(self, data: bytes) -> None:
        deadline = time.monotonic() + self.answer_s
        while data:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([], [self._file], [], left)[1]:
                raise FrameError("the line takes no bytes")
            data = data[os.write(self._file, data) :]
