"""Closed-loop sending: never more bytes on the way than the board's receiver takes.

A UART has a FIFO of 16 bytes (16550) and a busy board empties it late. So no more than a window of
bytes is sent before their echo has come back; a line that was echoed wrongly is wiped and sent
again with a smaller window. What proved to be safe is remembered for the board.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from labctl.boards import noise
from labctl.boards.channel import Channel
from labctl.errors import LabctlError

FIFO_BYTES = 16
_SMALLEST = 1
_LARGEST = 256
_TRIES = 5
# After so many lines without a mistake the window grows again.
_GROW_AFTER = 20
_KILL_LINE = b"\x15"  # Ctrl-U: line editors and the kernel's tty (VKILL, termios(3)) know it
_ESCAPES = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[^\[]")
# The line editor of busybox asks where the cursor is (CSI 6n, ECMA-48 8.3.35) with each prompt, and
# when nobody has answered by the end of the line it waits 20 ms for an answer that may be late
# (libbb/lineedit.c). The first column says that all is as it thinks.
CURSOR_ASKED = b"\x1b[6n"
_CURSOR = b"\x1b[1;1R"
# Where a line wraps, readline prints the next character (or a blank) to move the cursor, goes back,
# and prints it again.
_WRAP = re.compile(rb"[^\r\n]\r(?![\r\n])")
_CONTROLS = bytes(range(32)) + b"\x7f"
# A wrong echo may be one that has only come in part.
_SETTLE_S = 0.15
_TAIL = 256
_BLANK = 0x20


class SendError(LabctlError):
    """The board does not echo what it is sent."""


@dataclass
class SenderProfile:
    """What is known of a board's receiver.

    Attributes:
        window: Bytes that may be on the way.
        fine: Lines sent since the last mistake.
        resent: Lines that had to be sent again, in all.
    """

    window: int = FIFO_BYTES
    fine: int = 0
    resent: int = 0

    def went_well(self) -> None:
        """Note a line that was echoed at the first try."""
        self.fine += 1
        if self.fine >= _GROW_AFTER and self.window < _LARGEST:
            self.window, self.fine = min(self.window * 2, _LARGEST), 0

    def went_wrong(self) -> None:
        """Note a line that was not."""
        self.window, self.fine = max(_SMALLEST, self.window // 2), 0
        self.resent += 1


@dataclass(frozen=True)
class Sent:
    """What it took to send a line.

    Attributes:
        bytes_sent: Bytes sent, repetitions too.
        received: What came back: the echo, and what else came meanwhile.
    """

    bytes_sent: int
    received: bytes


def send_line(
    channel: Channel,
    line: bytes,
    profile: SenderProfile,
    *,
    name: str,
    echo_s: float = 1.0,
    strict_blanks: bool = True,
    prompt: re.Pattern[bytes] | None = None,
    asked: bool = False,
) -> Sent:
    """Send ``line`` and a carriage return, each byte echoed before the return goes out.

    Args:
        channel: The line, leased to us.
        line: Printable bytes, no newline.
        profile: What is known of the board; updated.
        name: The board, for messages.
        echo_s: How long an echo may take, seconds.
        strict_blanks: Blanks must be echoed too; off where a line editor may wrap the line.
        prompt: What may stand before the echo.
        asked: What came last was the question where the cursor is.

    Raises:
        SendError: The echo did not come, or was wrong, in several tries.
        LineGoneError: The line went away.
    """
    total = 0
    received = bytearray()
    for attempt in range(_TRIES):
        count, echo, right = _try(
            channel,
            line,
            profile.window,
            echo_s,
            partial(compare, strict=strict_blanks, prompt=prompt),
        )
        total += count
        received += echo
        if right:
            if attempt == 0:
                profile.went_well()
            # Nothing is on the way now, so a FIFO takes this whole.
            asked = asked or CURSOR_ASKED in received
            end = _CURSOR + b"\r" if asked and profile.window > len(_CURSOR) else b"\r"
            channel.write(end)
            return Sent(total + len(end), bytes(received))
        profile.went_wrong()
        channel.write(_KILL_LINE)
        total += 1
        received += _drain(channel, echo_s)
    raise SendError(
        f"it does not echo what it is sent ({len(line)} bytes, {_TRIES} tries)", thing=name,
        action="look with 'labctl board state', and check the rate of the line",
    )  # fmt: skip


def _try(
    channel: Channel, line: bytes, window: int, echo_s: float, compare: Compare
) -> tuple[int, bytes, bool]:
    """Send the line once; return the bytes sent, what came, and whether the echo was right."""
    got = bytearray()
    sent = echoed = 0
    deadline = time.monotonic() + echo_s
    while echoed < len(line):
        if sent < min(len(line), echoed + window):
            end = min(len(line), echoed + window)
            channel.write(line[sent:end])
            sent = end
            deadline = time.monotonic() + echo_s
        data = channel.read(max(0.0, deadline - time.monotonic()))
        got += data
        before = echoed
        echoed, wrong = compare(line[:sent], bytes(got))
        if not data and echoed < len(line):
            return sent, bytes(got), False
        if wrong:
            deadline = time.monotonic() + min(_SETTLE_S, echo_s)
        elif echoed > before:
            deadline = time.monotonic() + echo_s
    return sent, bytes(got), True


Compare = Callable[[bytes, bytes], tuple[int, bool]]


def compare(
    sent: bytes,
    got: bytes,
    *,
    strict: bool = True,
    prompt: re.Pattern[bytes] | None = None,
) -> tuple[int, bool]:
    """Compare what was sent with what came back.

    Args:
        sent: What was sent.
        got: What came, with whatever the line editor and the kernel put in between.
        strict: Blanks count, and the echo is one line.
        prompt: What may stand before the echo.

    Returns:
        How many bytes of ``sent`` were echoed, and whether something else came that no later byte
        can put right.
    """
    if strict:
        # The usual case, at each few bytes: nothing but the echo.
        line = got[got.rfind(b"\n") + 1 :]
        line = _ESCAPES.sub(b"", line) if b"\x1b" in line else line
        if sent.startswith(line):
            return len(line), False
    # The line itself may look like a kernel message.
    best = _compare(sent, got, strict=strict, prompt=prompt)
    clean = noise.split(got)[0]
    if len(clean) == len(got):
        return best
    return max(best, _compare(sent, clean, strict=strict, prompt=prompt), key=_better)


def _better(found: tuple[int, bool]) -> tuple[int, bool]:
    """Order findings: more bytes, then nothing wrong."""
    return found[0], not found[1]


def _compare(
    sent: bytes, clean: bytes, *, strict: bool, prompt: re.Pattern[bytes] | None
) -> tuple[int, bool]:
    if strict:
        # What came before belongs to the last answer.
        clean = clean[clean.rfind(b"\n") + 1 :]
    whole = _match(sent, _plain(clean, prompt), strict)
    if not whole[1]:
        return whole
    for position in range(max(0, len(clean) - _TAIL), len(clean)):
        if clean[position] in b"[<" and noise.may_be_beginning(clean[position:]):
            # A kernel message that has not ended yet is not judged.
            return max(whole[0], _match(sent, _plain(clean[:position], prompt), strict)[0]), False
    return whole


def _plain(data: bytes, prompt: re.Pattern[bytes] | None) -> bytes:
    """Return what a line editor echoed, without the prompt and what it did to the cursor."""
    data = _WRAP.sub(b"", _ESCAPES.sub(b"", data))
    match = prompt.match(data) if prompt else None
    return data[match.end() if match else 0 :].translate(None, _CONTROLS)


def _match(sent: bytes, got: bytes, strict: bool) -> tuple[int, bool]:
    """Return how many bytes of ``sent`` ``got`` begins with, and whether it goes on otherwise."""
    if not strict:
        blanks = [at for at, byte in enumerate(sent) if byte == _BLANK]
        count, wrong = _match(sent.translate(None, b" "), got.translate(None, b" "), strict=True)
        for at in blanks:  # back to a count that includes them
            count += at <= count
        return count, wrong
    count = 0
    limit = min(len(sent), len(got))
    while count < limit and sent[count] == got[count]:
        count += 1
    return count, count < len(got)


def _drain(channel: Channel, most_s: float) -> bytes:
    """Read until the line is quiet for a moment."""
    parts = []
    deadline = time.monotonic() + most_s
    while time.monotonic() < deadline and (data := channel.read(0.1)):
        parts.append(data)
    return b"".join(parts)
