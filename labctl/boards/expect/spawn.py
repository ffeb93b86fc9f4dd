"""pexpect on a line: a spawn object that is fed from a channel, and types on it.

pexpect's own delays (50 ms before each sending, 0.1 ms after each read) are off, and its window is
bounded: without a bound all that came is searched again at each read, which is quadratic.
Source: pexpect/spawnbase.py and expect.py of 4.9
(``delaybeforesend``, ``delayafterread``, ``searchwindowsize``).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

from pexpect import EOF, TIMEOUT
from pexpect.expect import Expecter
from pexpect.spawnbase import SpawnBase

from labctl.boards.channel import Channel
from labctl.errors import UsageError

WINDOW = 16 << 10
# What did not match is kept for `before`, and no more of it.
_KEPT = 1 << 20
_READ_BYTES = 1 << 18
# A match that may go on (a number, of which a digit has not come) is waited for as long.
_GROW_S = 0.05
_MORE = [bytes([code]) for code in b"0aA_.-/:, \r\n"]
# So long is the echo of what was typed waited for before more is typed.
_ECHO_S = 0.25


# Generic only in the types that others wrote for pexpect.
if TYPE_CHECKING:
    _Base = SpawnBase[bytes]
else:
    _Base = SpawnBase


class LineSpawn(_Base):
    r"""A conversation with whatever is on the line, with the methods of `pexpect.spawn`.

    Patterns are bytes, or text that is encoded; ``^`` in a pattern of `wait_for` is the beginning
    of a line, and nothing else: not the place where the last match ended.

    Args:
        channel: The line, leased to us.
        timeout: How long `expect` waits if it is not told, seconds.
        chunk: Bytes that the receiver surely takes at once; more are sent when these were echoed.
        in_line: The board has begun a line already, such as a prompt.
        watch: Sees all that is read, at once; what it raises ends the wait.

    Example::

        from labctl.boards.expect.spawn import LineSpawn

        spawn = LineSpawn(board.line)
        spawn.sendline("printenv bootdelay")
        spawn.expect(rb"bootdelay=(\d+)")
    """

    # What `expect` has not found a match in yet.
    _before: BytesIO

    def __init__(
        self,
        channel: Channel,
        *,
        timeout: float = 30.0,
        chunk: int = 16,
        in_line: bool = False,
        watch: Callable[[bytes], None] = lambda data: None,
    ) -> None:
        super().__init__(timeout=timeout, maxread=_READ_BYTES, searchwindowsize=WINDOW)
        self.linesep = b"\r"
        self.delaybeforesend = None
        self.delayafterread = None
        self.closed = False
        self._channel = channel
        self._chunk = chunk
        self._watch = watch
        self._early = b""  # read while something was typed
        self.before_all = b"." if in_line else b"\n"
        self.history = bytearray()

    # -- reading -----------------------------------------------------------------------------

    def read_nonblocking(self, size: int = 1, timeout: float | None = -1) -> bytes:
        """Return what came, at most ``size`` bytes.

        Raises:
            TIMEOUT: Nothing came within ``timeout`` seconds.
            LineGoneError: The line went away.
            LeaseLostError: Somebody took the line from us.
        """
        if timeout == -1:
            timeout = self.timeout
        # A channel has a deadline always; "for ever" is a day.
        deadline = time.monotonic() + (86_400.0 if timeout is None else max(timeout, 0.0))
        while not self._early:
            left = deadline - time.monotonic()
            self._early = self._take(max(left, 0.0))
            if not self._early and left <= 0:
                raise TIMEOUT("nothing came")
        data, self._early = self._early[:size], self._early[size:]
        self.history += data
        del self.history[: -2 * WINDOW]
        if self._before.tell() > 2 * _KEPT:
            kept = self._before.getvalue()[-_KEPT:]
            self._before = BytesIO()
            self._before.write(kept)
        if self.logfile_read is not None:
            self.logfile_read.write(data)
        return data

    def _take(self, timeout: float) -> bytes:
        data = self._channel.read(timeout)
        if data:
            self._watch(data)
        return data

    def wait_for(self, patterns: Sequence[re.Pattern[bytes]], timeout: float) -> int:
        """Wait until one of ``patterns`` comes; return the number of the first one in the stream.

        `match`, `before` and `after` are as after `expect`.

        Raises:
            pexpect.TIMEOUT: None of them came within ``timeout`` seconds.
        """
        searcher = cast(Any, _Searcher(self, patterns))
        deadline = time.monotonic() + timeout
        while True:
            number = int(Expecter(self, searcher).expect_loop(deadline - time.monotonic()))
            left = deadline - time.monotonic()
            if self.buffer or left <= 0 or not _may_grow(patterns[number], searcher.match):
                return number
            more = self._early or self._take(min(_GROW_S, left))
            self._early = b""
            if not more:
                return number
            whole = cast(bytes, self.before) + cast(bytes, self.after) + more
            self.history += more
            self.buffer = whole[-WINDOW:]
            self._before = BytesIO()
            self._before.write(whole)

    def forget(self) -> None:
        """Let nothing count that came before: reading goes on with what comes from now on."""
        self._early = b""
        self.buffer = b""
        self._before = BytesIO()

    # -- typing ------------------------------------------------------------------------------

    def send(self, text: bytes | str) -> int:
        """Type ``text``, no faster than the receiver takes it; return the number of bytes."""
        data = text.encode() if isinstance(text, str) else text
        for begin in range(0, len(data), self._chunk):
            if begin:
                self._await_echo(self._chunk)
            self._channel.write(data[begin : begin + self._chunk])
        return len(data)

    def _await_echo(self, count: int) -> None:
        """Read about ``count`` bytes, or until nothing comes for a moment (no echo)."""
        deadline = time.monotonic() + _ECHO_S
        while count > 0 and (left := deadline - time.monotonic()) > 0:
            data = self._take(left)
            if not data:
                return
            self._early += data
            count -= len(data)

    def sendline(self, text: bytes | str = b"") -> int:
        """Type ``text`` and a carriage return."""
        data = text.encode() if isinstance(text, str) else text
        return self.send(data + self.linesep)

    def write(self, text: bytes | str) -> None:
        """Type ``text``."""
        self.send(text)

    def writelines(self, lines: Sequence[bytes | str]) -> None:
        """Type each of ``lines``."""
        for line in lines:
            self.send(line)

    def sendcontrol(self, char: str) -> int:
        """Type the control character of ``char``: ``c`` for Ctrl-C.

        Raises:
            UsageError: It has none.
        """
        return self.send(control(char))

    def sendbreak(self, seconds: float = 0.25) -> None:
        """Hold the line's break condition.

        Raises:
            UnsupportedError: The line cannot.
        """
        self._channel.send_break(seconds)

    def isalive(self) -> bool:
        """Return true: a line that has gone raises."""
        return True


class _Searcher:
    """What pexpect's loop asks whether something was found; see `pexpect.expect.searcher_re`.

    pexpect's own takes the end of the last match for the beginning of a line.
    """

    eof_index = -1
    timeout_index = -1

    def __init__(self, spawn: LineSpawn, patterns: Sequence[re.Pattern[bytes]]) -> None:
        self._spawn = spawn
        self._patterns = patterns
        self.start = self.end = -1
        self.match: re.Match[bytes] | None = None

    def search(self, window: bytes, fresh: int, size: int | None = None) -> int:
        """Return the number of the pattern that matches first in ``window``, or -1."""
        history = self._spawn.history
        at = len(history) - len(window) - 1
        text = (bytes(history[at : at + 1]) if at >= 0 else self._spawn.before_all) + window
        best, self.match = -1, None
        for number, pattern in enumerate(self._patterns):
            match = pattern.search(text, 1)
            if match and (self.match is None or match.start() < self.match.start()):
                best, self.match = number, match
        if self.match is not None:
            self.start, self.end = self.match.start() - 1, self.match.end() - 1
        return best

    def __str__(self) -> str:
        return "patterns of the script"


def _may_grow(pattern: re.Pattern[bytes], match: re.Match[bytes]) -> bool:
    """Tell whether a match at the end of what has come would be longer with one more byte."""
    longer = (pattern.match(match.string + more, match.start()) for more in _MORE)
    return any(one is not None and one.end() > match.end() for one in longer)


def control(char: str) -> bytes:
    """Return the control character of ``char``, as ECMA-48 and terminals have it.

    Raises:
        UsageError: It has none.
    """
    code = ord(char.upper()) if len(char) == 1 else 0
    if code == ord("?"):
        return b"\x7f"
    if not 0x40 <= code <= 0x5F:
        raise UsageError(f"{char!r} has no control character", action="name a letter, such as c")
    return bytes([code & 0x1F])


__all__ = ["EOF", "TIMEOUT", "WINDOW", "LineSpawn", "control"]
