"""The signs by which a board shows where it is, and a watcher that waits for them.

A pattern counts at the beginning of a line only: a prompt inside output (U-Boot's ``crc32`` prints
``==> ``) is no prompt. The window that is searched is bounded, so waiting is linear in the bytes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from labctl.boards import noise
from labctl.boards.channel import Channel
from labctl.errors import LabctlError
from labctl.report.sanitize import clean, clean_line

_WINDOW = 16 << 10
_PANIC_TEXT = 8 << 10
# A panic prints some tens of lines; then the board is silent or starts again.
_PANIC_QUIET_S = 0.5
_PANIC_MOST_S = 3.0

Pattern = re.Pattern[bytes]


class BoardPanicError(LabctlError):
    """The board's software gave up; ``text`` holds what it said."""

    def __init__(self, thing: str, text: bytes) -> None:
        lines = [line for line in clean(text).splitlines() if line.strip()]
        shown = "".join(f"\n  | {clean_line(line, limit=160)}" for line in lines[:20])
        super().__init__(f"the board panicked{shown}", thing=thing)
        self.text = text


class NotSeenError(LabctlError):
    """The board did not show what was waited for within the time."""


@dataclass(frozen=True)
class Signs:
    """Patterns of one board model; None or empty where it has no such thing.

    Attributes:
        rom: Boot ROM, SPL and banners: the board was just reset.
        autoboot: The countdown of the boot loader.
        uboot_prompt: The boot loader's prompt.
        login: The login prompt.
        password: The question for a password.
        shell_prompt: The shell's prompt.
        panic: What a panic looks like.
    """

    rom: Sequence[Pattern] = ()
    autoboot: Pattern | None = None
    uboot_prompt: Pattern | None = None
    login: Pattern | None = None
    password: Pattern | None = None
    shell_prompt: Pattern | None = None
    panic: Sequence[Pattern] = ()

    def prompts(self) -> dict[str, Pattern]:
        """Return those that end a board's output and wait for us, by name."""
        named = {
            "autoboot": self.autoboot,
            "uboot": self.uboot_prompt,
            "login": self.login,
            "password": self.password,
            "shell": self.shell_prompt,
        }
        return {name: pattern for name, pattern in named.items() if pattern is not None}


_ESCAPES = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")


def _visible(text: bytes) -> bytes:
    """Return ``text`` without what a line editor asks of a terminal (CSI 6n), and blanks."""
    return _ESCAPES.sub(b"", text).strip()


def last_line(text: bytes) -> bytes:
    """Return the line that has no newline yet, without what a terminal would have erased."""
    line = text.rpartition(b"\n")[2]
    line = line.rpartition(b"\r")[2] or line.rstrip(b"\r")
    return _ESCAPES.sub(b"", line)


def prompt_at_end(text: bytes, signs: Signs) -> str | None:
    """Return the name of the prompt that ``text`` ends with, or None.

    Kernel messages, in its middle too, are passed over.
    """
    line = last_line(noise.split(text)[0])
    for name, pattern in signs.prompts().items():
        match = pattern.match(line)
        if match and not line[match.end() :].strip():
            return name
        if match and name == "autoboot":
            return name  # the countdown itself follows
    return None


@dataclass
class Watcher:
    """Waits for signs on a channel.

    Attributes:
        channel: Where the bytes come from.
        signs: What a panic looks like, and the prompts.
        name: The board, for messages.
        seen: The last bytes without kernel messages.
        raw: The last bytes as they came; a panic is a kernel message too.
    """

    channel: Channel
    signs: Signs
    name: str
    seen: bytearray = field(default_factory=bytearray)
    raw: bytearray = field(default_factory=bytearray)
    _new: int = 0
    _raw_new: int = 0
    _splitter: noise.NoiseSplitter = field(default_factory=noise.NoiseSplitter)

    def wait(
        self,
        wanted: Mapping[str, Pattern],
        *,
        timeout_s: float,
        at_end: bool = False,
        panic: bool = True,
    ) -> str:
        """Wait until one of ``wanted`` shows, and return its name.

        Only what comes after the last match counts.

        Args:
            wanted: Patterns by name; they are matched at the beginning of a line.
            timeout_s: How long to wait, seconds.
            at_end: The pattern must end the output, as a prompt does.
            panic: A panic ends the wait at once.

        Raises:
            BoardPanicError: The board panicked.
            NotSeenError: None of them came; the message has the last line that did.
        """
        deadline = time.monotonic() + timeout_s
        found = self._look(wanted, at_end=at_end, panic=panic)
        while found is None:
            left = deadline - time.monotonic()
            data = self.channel.read(max(left, 0.0))
            self.feed(data)
            found = self._look(wanted, at_end=at_end, panic=panic) if data else None
            if found is None and left <= 0:
                raise NotSeenError(
                    f"no {' or '.join(wanted)} within {timeout_s:.0f} s; "
                    f"it last said: {self.last_words() or 'nothing'}",
                    thing=self.name,
                    action=f"labctl console --watch {self.name}",
                )
        return found

    def feed(self, data: bytes) -> None:
        """Take bytes that somebody else read from the channel."""
        self.raw += data
        self.seen += self._splitter.feed(data)
        self._splitter.noise.clear()
        if (excess := len(self.seen) - _WINDOW) > 0:
            del self.seen[:excess]
            self._new = max(0, self._new - excess)
        if (excess := len(self.raw) - _WINDOW) > 0:
            del self.raw[:excess]
            self._raw_new = max(0, self._raw_new - excess)

    def restart(self, tail: bytes) -> None:
        """Begin with ``tail`` as what was seen last."""
        self.seen.clear()
        self.raw.clear()
        self._splitter = noise.NoiseSplitter()
        self._new = self._raw_new = 0
        self.feed(tail)
        self.forget()

    def forget(self) -> None:
        """Let nothing that was seen so far count."""
        self._new = len(self.seen)
        self._raw_new = len(self.raw)

    def drain(self, *, quiet_s: float, most_s: float) -> bytes:
        """Read until nothing came for ``quiet_s`` seconds, at most ``most_s``; return it."""
        deadline = time.monotonic() + most_s
        parts = []
        while (left := deadline - time.monotonic()) > 0:
            data = self.channel.read(min(quiet_s, left))
            if not data:
                break
            self.feed(data)
            parts.append(data)
        return b"".join(parts)

    def last_words(self) -> str:
        """Return the last line that is not empty, cleaned."""
        for line in reversed(bytes(self.seen or self.raw).splitlines()):
            if text := clean_line(line, limit=120):
                return text
        return ""

    def _look(self, wanted: Mapping[str, Pattern], *, at_end: bool, panic: bool) -> str | None:
        if panic:
            self._look_for_panic()
        text = bytes(self.seen[self._new :])
        for start in _line_starts(text):
            for name, pattern in wanted.items():
                match = pattern.match(text, start)
                if match and (not at_end or not _visible(text[match.end() :])):
                    self._new += match.end()
                    return name
        # Whole lines without a match need not be looked at again.
        self._new += text.rfind(b"\n") + 1
        return None

    def _look_for_panic(self) -> None:
        text = bytes(self.raw[self._raw_new :])
        for sign in self.signs.panic:
            if match := sign.search(text):
                self._panicked(text[match.start() :])
        self._raw_new += text.rfind(b"\n") + 1

    def _panicked(self, text: bytes) -> None:
        text += self.drain(quiet_s=_PANIC_QUIET_S, most_s=_PANIC_MOST_S)
        self.forget()
        raise BoardPanicError(self.name, text[:_PANIC_TEXT])


def _line_starts(text: bytes) -> list[int]:
    starts = [0]
    position = text.find(b"\n")
    while position >= 0:
        starts.append(position + 1)
        position = text.find(b"\n", position + 1)
    # A carriage return alone begins the line anew.
    return [start + (text[start : start + 1] == b"\r") for start in starts]
