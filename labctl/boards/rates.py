"""A line at the wrong rate: does what comes look like it, and which rate decodes?

A receiver with another clock makes other bytes of the same bits: many of them are no text, and few
come at all where it is slower. So the share of bytes that text has tells a wrong rate from a right
one (the tests do it for every pair of usual rates, bit by bit). Nothing here changes what a person
set: other rates are tried for moments, under the lease, and then the line is as before.

Sources: TL16C550C datasheet (Texas Instruments SLLS177), receiver and framing error; the rates are
those of termios(3), of the ESP8266 boot ROM (74880) and of Rockchip's boot loaders (1500000).
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from labctl.boards.signs import Signs, prompt_at_end
from labctl.errors import LabctlError
from labctl.report.sanitize import clean_line
from labctl.transport.lines.base import UnsupportedError
from labctl.transport.lines.settings import LineSettings

USUAL_RATES = (
    115200, 9600, 57600, 38400, 19200, 1500000, 921600, 460800, 230400, 74880, 4800, 2400,
)  # fmt: skip
# Text scores 1; what another rate makes of text has no more than 0.85, given a few bytes.
TEXT = 0.95
GARBAGE = 0.85
_ENOUGH = 8
_VARIETY = 4
_RECENT = 512
# Per rate: for what comes by itself, for an answer, and for its end. A prompt with its echo has
# some ten bytes: 40 ms at 2400.
_LISTEN_S = 0.12
_ANSWER_S = 0.3
_QUIET_S = 0.06
_MOST_S = 0.6
_CTRL_C = b"\x03"
# What text on a terminal has: printable ASCII, BEL, BS, TAB, LF, CR, ESC; and UTF-8.
_PLAIN = re.compile(
    rb"[\x07-\x0a\x0d\x1b\x20-\x7e]|[\xc2-\xdf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}"
    rb"|\xf0\x9f[\x80-\xbf]{2}"
)


class Settable(Protocol):
    """A line whose rate may be changed while it is leased to us."""

    def read(self, timeout: float) -> bytes:
        """Return what came within ``timeout`` seconds."""
        ...

    def write(self, data: bytes) -> None:
        """Hand ``data`` to the line."""
        ...

    def set_baud(self, rate: int) -> None:
        """Change the rate; raises `UnsupportedError` where it is set elsewhere."""
        ...


@dataclass(frozen=True)
class RateFinding:
    """What was found out about the rate of a line.

    Attributes:
        rate: The one that is set, baud.
        garbage: What came at it is no text.
        decodes: The one at which text comes, baud, or None.
        tried: Those that were tried.
        sample: What came at ``decodes``, or else at ``rate``, cleaned.
        seven_bits: The garbage is text with a parity bit.
    """

    rate: int
    garbage: bool
    decodes: int | None = None
    tried: tuple[int, ...] = ()
    sample: str = ""
    seven_bits: bool = False

    def cause(self) -> str:
        """Return what is wrong, in one line."""
        if self.decodes is not None:
            return (
                f"it looks like a wrong rate: {self.rate} is set; {self.decodes} decodes "
                f"({self.sample or 'its echo'})"
            )
        if self.seven_bits:
            return f"what comes at {self.rate} baud is text with a parity bit"
        others = f", nor at {', '.join(map(str, self.tried))}" if self.tried else ""
        return f"it looks like a wrong rate: what comes at {self.rate} baud is no text{others}"

    def action(self, board: str) -> str:
        """Return what to do about it."""
        if self.decodes is not None:
            return (
                f"set 'settings: {{line: {{baud: {self.decodes}}}}}' for {board} in the inventory"
            )
        if self.seven_bits:
            settings = "{line: {data_bits: 7, parity: even}}"
            return f"set 'settings: {settings}' (or odd) for {board} in the inventory"
        if not self.tried:
            return "the rate of this line is set at its other end: look there, and at the board's"
        return "look at the ground wire, at inverted levels, and at the board's documentation"

    def error(self, board: str) -> LabctlError:
        """Return it as an error."""
        return LabctlError(self.cause(), thing=board, action=self.action(board))


def score(data: bytes) -> float:
    """Return how much ``data`` looks like text, 0 to 1; 0.9 where that cannot be told.

    Text scores 1. Bytes that repeat themselves (a line of dashes) tell nothing: at twice the rate
    the letter U is a row of f and 3.
    """
    if len(data) < 2 or len(set(data)) < min(_VARIETY, len(data)):
        plain = _share(data) if data else 1.0
        return min(plain, (TEXT + GARBAGE) / 2)
    return _share(data)


def _share(data: bytes) -> float:
    return sum(len(match) for match in _PLAIN.findall(data)) / len(data)


def is_garbage(data: bytes) -> bool:
    """Tell whether ``data`` looks like text at a wrong rate, or like no text at all."""
    recent = data[-_RECENT:]
    return len(recent) >= _ENOUGH and score(recent) <= GARBAGE


def is_text(data: bytes, signs: Signs | None = None, echo: bytes = b"") -> bool:
    """Tell whether ``data`` is surely text.

    Args:
        data: What came.
        signs: Prompts; one of them is proof, however short.
        echo: What was typed; its echo is proof, too.
    """
    recent = data[-_RECENT:]
    if signs is not None and prompt_at_end(recent, signs) is not None:
        return score(recent) >= GARBAGE
    if len(echo) > 1 and recent.strip(b"\r\n") == echo.strip(b"\r\n"):
        return True
    return len(recent) >= _ENOUGH and score(recent) >= TEXT


def is_seven_bits(data: bytes) -> bool:
    """Tell whether ``data`` is text whose eighth bit is a parity bit."""
    recent = data[-_RECENT:]
    return (
        len(recent) >= 4 * _ENOUGH
        and is_garbage(recent)
        and score(bytes(byte & 0x7F for byte in recent)) == 1.0
    )


class Meter:
    """Watches a stream for garbage; the time it takes is linear in the bytes."""

    def __init__(self) -> None:
        self._recent = b""
        self._told = False

    def feed(self, data: bytes) -> bool:
        """Take what came; return true once, when it has come to look like a wrong rate."""
        self._recent = (self._recent + data)[-_RECENT:]
        if self._told or len(self._recent) < 4 * _ENOUGH or not is_garbage(self._recent):
            return False
        self._told = True
        return True


def examine(
    line: Settable,
    settings: LineSettings,
    came: bytes,
    *,
    signs: Signs,
    provoke: bytes,
    rates: Sequence[int] = USUAL_RATES,
    say: Callable[[str], None] = lambda text: None,
) -> RateFinding | None:
    """Find out whether a wrong rate explains what came, or that nothing did.

    Takes some hundred milliseconds for each rate, and nothing where the line's is set elsewhere.

    Args:
        line: The line, leased to us.
        settings: What it is set to.
        came: What came at that.
        signs: Prompts of the board.
        provoke: What makes the board say something and does no harm; empty: only listen.
        rates: Those to try.
        say: Gets a line when it begins to try.

    Returns:
        What was found, or None where the rate explains nothing.

    Raises:
        LabctlError: The line went away, or was taken from us.
    """
    if is_text(came, signs, provoke):
        return None
    garbage = is_garbage(came)
    sample = clean_line(came[-40:], limit=40)
    if is_seven_bits(came):
        sample = clean_line(bytes(byte & 0x7F for byte in came[-40:]))
        return RateFinding(settings.baud, True, sample=sample, seven_bits=True)
    tried: list[int] = []
    found: tuple[int, bytes] | None = None
    others = [rate for rate in rates if rate != settings.baud]
    try:
        for rate in others:
            try:
                line.set_baud(rate)
            except UnsupportedError:
                if not tried:
                    others = []
                    break  # it is set elsewhere
                continue
            if not tried:
                say(f"no text at {settings.baud} baud; trying other rates")
            tried.append(rate)
            heard = _hear(line, provoke)
            if is_text(heard, signs, provoke):
                found = rate, heard
                _take_back(line, heard, signs)
                break
    finally:
        if tried:
            line.set_baud(settings.baud)
    if found is not None:
        shown = clean_line(found[1].strip().rpartition(b"\n")[2], limit=40)
        return RateFinding(settings.baud, garbage, found[0], tuple(tried), shown)
    return RateFinding(settings.baud, True, None, tuple(tried), sample) if garbage else None


def _hear(line: Settable, provoke: bytes) -> bytes:
    """Return what comes by itself, or else as an answer to ``provoke``."""
    # What the receiver makes of the moment in which its rate changes is none of the board's words.
    line.read(0)
    heard = line.read(_LISTEN_S)
    if not heard and provoke:
        line.write(provoke)
        heard = line.read(_ANSWER_S)
    deadline = time.monotonic() + _MOST_S
    while heard and time.monotonic() < deadline:
        more = line.read(_QUIET_S)
        if not more:
            break
        heard += more
    return heard


def _take_back(line: Settable, heard: bytes, signs: Signs) -> None:
    """Leave the question for a password, where what was typed was taken for a login name."""
    if prompt_at_end(heard, signs) == "password":
        with contextlib.suppress(UnsupportedError):
            line.write(_CTRL_C)
            line.read(_ANSWER_S)
