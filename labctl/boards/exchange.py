"""Typing to a shell and waiting for what it answers; what is typed and awaited is the session's.

Every wait ends: with the answer, with a sign that the answer was lost, with a panic or a reset, or
with the deadline.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labctl.boards import noise, sender
from labctl.boards.channel import Channel
from labctl.boards.dialects.base import Dialect, Marks
from labctl.boards.errors import BoardResetError, CommandTimeoutError, DamagedError
from labctl.boards.frame import Answer, Frame
from labctl.boards.sender import SenderProfile
from labctl.boards.signs import BoardPanicError, Signs, prompt_at_end
from labctl.errors import UsageError

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
# The line was quiet for so long: bytes that were on their way have come.
_QUIET_S = 0.5
_GRACE_S = 1.0
# A program that runs live may be silent for a while after it printed what looks like a panic.
_LIVE_QUIET_S = 2.0
_LIVE_MOST_S = 15.0
_LAST_WORDS = 8 << 10
# So often is the return sent again where nothing shows that it came.
_RETURNS = 3
_ECHO_S = 2.0
_KEY_S = 0.1
# A shell that repeats what it reads answers at once.
_REPEATED_S = 0.5
# The prompt follows an answer at once; where its form is not known, so long is waited for it.
_PROMPT_S = 0.03
# What a shell says that does not know our words (see `PosixShell`).
_UNKNOWN = re.compile(rb"_[LVP]: -\r*\n")
_ESCAPES = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")
_CTRL_C = b"\x03"


class UnknownWordsError(Exception):
    """The shell does not know our words: it was started anew, and ran nothing."""


@dataclass
class _Alarm:
    """Something looked like a panic, or like a reset; what came since, and when it began."""

    panic: bool
    text: bytes
    at: float


class Exchange:
    """Lines to one shell, and answers from it.

    Args:
        channel: The line, leased to us.
        dialect: The kind of shell.
        signs: Prompts, and what a panic and a reset look like.
        name: The board, for messages.
        profile: What is known of its receiver; updated.
        limit: No answer may be longer, bytes.

    Attributes:
        sent: Bytes sent.
        received: Bytes that came.
        noise: Kernel messages that came in between.
    """

    def __init__(
        self,
        channel: Channel,
        dialect: Dialect,
        signs: Signs,
        name: str,
        profile: SenderProfile,
        limit: int,
    ) -> None:
        self.sent = 0
        self.received = 0
        self.noise: list[bytes] = []
        self._channel = channel
        self._dialect = dialect
        self._signs = signs
        self._name = name
        self._profile = profile
        self._limit = limit
        # It begins with a letter, so that it is told from the numbers beside it.
        self._word = "t" + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in os.urandom(3))
        self._count = 0
        self._tail = b""
        self._prompt = signs.uboot_prompt if dialect.repeats_on_return else signs.shell_prompt

    def marks(self) -> Marks:
        """Return marks that were never used before."""
        self._count += 1
        return Marks(f"{self._word}{self._count}")

    def type(self, lines: Sequence[bytes], *, echo_s: float = _ECHO_S, wrapping: int = 0) -> bytes:
        """Type ``lines``; return what came with the last that is not surely its echo.

        Args:
            lines: All but the last print nothing.
            echo_s: How long an echo may take, seconds.
            wrapping: A line editor may wrap so many of the first lines.

        Raises:
            SendError: The board does not echo what it is sent.
        """
        came = b""
        for number, line in enumerate(lines):
            if number:
                self._await_newline()
            sent = sender.send_line(
                self._channel, line, self._profile, name=self._name, echo_s=echo_s,
                strict_blanks=number >= wrapping, prompt=self._prompt,
                asked=self._tail.endswith(sender.CURSOR_ASKED),
            )  # fmt: skip
            self._tail = b""
            self.sent += sent.bytes_sent
            self.received += len(sent.received)
            came = sent.received
        return came

    def tell(self, lines: Sequence[bytes]) -> bool:
        """Type ``lines``, of which the first may wrap; return whether all of them were echoed."""
        try:
            self.type(lines, wrapping=1)
        except sender.SendError:
            return False
        self._await_newline()
        return True

    def _await_newline(self) -> None:
        """Wait until the shell has the line and asks for the next.

        A lost return would join two lines, and the prompt would come into the echo of the next.
        """
        for _ in range(_RETURNS):
            came = b""
            deadline = time.monotonic() + _QUIET_S
            while b"\n" not in came and (left := deadline - time.monotonic()) > 0:
                came += self.read(left)
            if b"\n" in came:
                self._await_prompt(came)
                return
            self._return_again()

    def _await_prompt(self, text: bytes) -> None:
        """Read until ``text`` ends with a prompt, or nothing more comes for a moment."""
        deadline = time.monotonic() + _QUIET_S
        while prompt_at_end(text, self._signs) is None and time.monotonic() < deadline:
            data = self.read(_PROMPT_S)
            if not data:
                return
            text = (text + data)[-_LAST_WORDS:]

    def _return_again(self) -> None:
        # A blank keeps U-Boot from repeating a command.
        self._channel.write(b" \r")
        self.sent += 2

    def read(self, timeout: float) -> bytes:
        """Read what comes within ``timeout`` seconds."""
        data = self._channel.read(timeout)
        self.received += len(data)
        self._tail = (self._tail + data)[-8:]
        return data

    def press(self, keys: bytes) -> None:
        """Send ``keys`` unseen, and read what the shell says to them."""
        self._channel.write(keys)
        self.sent += len(keys)
        until = time.monotonic() + _GRACE_S
        while time.monotonic() < until and self.read(_KEY_S):
            pass

    def interrupt(self) -> None:
        """Stop what runs."""
        self.press(_CTRL_C)

    def ask_for(self, line: bytes, answer: bytes, timeout: float) -> re.Match[bytes] | None:
        """Type ``line`` and return the line of answer that it brings within ``timeout``, or None.

        It may be wrapped by a line editor.
        """
        pattern = re.compile(rb"(?:^|[\r\n])" + answer + rb"\r*\n")
        try:
            came = self.type([line], echo_s=max(_KEY_S, min(timeout, 2.0)), wrapping=1)
        except sender.SendError:
            return None
        deadline = time.monotonic() + timeout
        repeated = False
        while (match := pattern.search(noise.split(came)[0])) is None:
            if not repeated and came.count(line.strip()) > 1:
                # The terminal echoed it, and what runs there printed it, as cat does: no shell is
                # listening, but for one that is told to be verbose.
                repeated = True
                deadline = min(deadline, time.monotonic() + _REPEATED_S)
            left = deadline - time.monotonic()
            data = self.read(max(left, 0.0))
            if not data and left <= 0:
                return None
            came += data
        self._await_prompt(came)
        return match

    def answer(
        self,
        marks: Marks,
        deadline: float,
        live: Callable[[bytes], None] | None,
        *,
        saved: bool,
    ) -> Answer | None:
        """Read until the end mark of ``marks``; None where the answer got lost.

        Raises:
            UnknownWordsError: The shell does not know our words, and ran nothing.
        """
        frame = Frame(marks, saved=saved, live=live, limit=self._limit,
                      own_newline=self._dialect.saves_output)  # fmt: skip
        alarm: _Alarm | None = None
        heard_at = time.monotonic()
        returns = 0
        while frame.answer is None and not frame.damaged:
            now = time.monotonic()
            if now >= deadline:
                self._give_up(frame)
            data = self._read_for(frame, min(_QUIET_S, deadline - now))
            if data:
                heard_at = time.monotonic()
                alarm = self._alarmed(alarm, frame, data)
            quiet_s = time.monotonic() - heard_at
            if alarm is not None:
                self._judge(alarm, quiet_s, live=live is not None, output=saved and frame.begun)
            elif not data and not frame.recent and returns < _RETURNS:
                # Not even the return was echoed.
                self._return_again()
                returns += 1
            elif not data and self._is_lost(frame, live, quiet_s, saved=saved):
                return None
        self.noise += frame.noise
        self._await_prompt(frame.recent)
        return frame.answer

    def _read_for(self, frame: Frame, timeout: float) -> bytes:
        """Read for ``frame``; raise what ends the wait for an answer at once."""
        data = self.read(timeout)
        frame.feed(data)
        if not frame.begun and _UNKNOWN.search(frame.recent):
            raise UnknownWordsError
        if frame.too_long:
            self.interrupt()
            raise DamagedError(
                f"the output is longer than {self._limit} bytes", thing=self._name,
                action="write it to a file on the board",
            )  # fmt: skip
        return data

    def _is_lost(
        self, frame: Frame, live: Callable[[bytes], None] | None, quiet_s: float, *, saved: bool
    ) -> bool:
        """Tell whether a quiet line means that the end mark was lost."""
        # While a program runs live, what looks like a prompt may be its own.
        if live and frame.begun:
            return False
        text = noise.split(frame.recent)[0]
        if self._dialect.repeats_on_return and text.endswith((b"\n> ", b"\r> ")):
            raise UsageError(
                "the command is not complete: U-Boot asks for the rest of it", thing=self._name,
                action="close what it opens (if ... fi, a quote)",
            )  # fmt: skip
        if prompt_at_end(text, self._signs) in ("uboot", "shell", "login"):
            return True
        # Output that is saved is only shown when the command has ended; then all of it comes.
        return saved and quiet_s >= _GRACE_S and bool(text.strip())

    def _alarmed(self, alarm: _Alarm | None, frame: Frame, data: bytes) -> _Alarm | None:
        """Return the alarm with what came since; a new one where what came looks like one."""
        if alarm is not None:
            alarm.text = (alarm.text + data)[:_LAST_WORDS]
            return alarm
        # bash leads what follows with an escape sequence and a carriage return.
        text = _ESCAPES.sub(b"", frame.recent).replace(b"\r", b"\n")
        for panic, signs in ((True, self._signs.panic), (False, self._signs.rom)):
            for sign in signs:
                if match := sign.search(text):
                    return _Alarm(panic, text[match.start() :], time.monotonic())
        return None

    def _judge(self, alarm: _Alarm, quiet_s: float, *, live: bool, output: bool) -> None:
        """Raise ``alarm`` unless it may be output, which is followed by more or the end mark.

        Args:
            alarm: What looked like a panic or a reset.
            quiet_s: For how long nothing came, seconds.
            live: Output comes as it is printed.
            output: Saved output is being shown; before, nothing of it can be seen.
        """
        age_s = time.monotonic() - alarm.at
        if live:
            sure = quiet_s > _LIVE_QUIET_S or age_s > _LIVE_MOST_S
        else:
            sure = (quiet_s if output else age_s) > _GRACE_S
        if not sure:
            return
        if alarm.panic:
            raise BoardPanicError(self._name, alarm.text)
        raise BoardResetError(
            "it was reset in mid command", thing=self._name,
            action=f"look with 'labctl console log {self._name} --since 1m'",
        )  # fmt: skip

    def _give_up(self, frame: Frame) -> None:
        self.interrupt()
        from labctl.report.sanitize import clean_line  # noqa: PLC0415

        last = clean_line(frame.recent.rstrip().rpartition(b"\n")[2], limit=120)
        raise CommandTimeoutError(
            f"the command did not end in time; it last said: {last or 'nothing'}",
            thing=self._name, action="give it more with --timeout",
        )  # fmt: skip
