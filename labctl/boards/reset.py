"""Resetting a board: by its power, by DTR and RTS, by a command, and the proof that it was.

What a command says of itself proves nothing: a board was reset when it shows the first words of its
model (``rom``) again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from labctl.boards.model import SignalStep
from labctl.boards.signs import NotSeenError, Watcher
from labctl.errors import LabctlError, UsageError
from labctl.report.sanitize import clean_line

# What may still be on its way from before.
_QUIET_S = 0.05
_SETTLE_S = 0.5
# A model that does not say how its board begins: what comes within this time is shown.
_FIRST_WORDS_S = 2.0
WAYS = ("power", "signals", "soft")


class Signals(Protocol):
    """A line with modem control outputs."""

    def set_signals(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Set them; raises `UnsupportedError` where it has none."""
        ...


@dataclass(frozen=True)
class ResetResult:
    """What came of a reset.

    Attributes:
        way: ``power``, ``signals`` or ``soft``.
        proved: The board showed its first words; None where its model does not know them.
        evidence: The first line that came, cleaned.
        seconds: Until then.
    """

    way: str
    proved: bool | None
    evidence: str
    seconds: float


def pulse(line: Signals, steps: Sequence[SignalStep]) -> None:
    """Go through ``steps`` on DTR and RTS.

    Raises:
        UnsupportedError: The line has no such outputs.
    """
    for step in steps:
        if step.dtr is not None or step.rts is not None:
            line.set_signals(dtr=step.dtr, rts=step.rts)
        time.sleep(step.seconds)  # the length of the pulse itself is what is wanted


def choose(way: str | None, ways: Mapping[str, Callable[[], None]], name: str) -> str:
    """Return the way to reset it: ``way``, or else the surest that there is.

    Args:
        way: What a person asked for, or None.
        ways: Those that this board has, the surest first.
        name: The board, for messages.

    Raises:
        UsageError: It has no such way.
    """
    if way is None and not ways:
        raise UsageError(
            "nothing resets it from here: no power switch, and DTR and RTS do not reach its reset",
            thing=name,
            action="write 'power:' into the inventory, or try --soft, by a command on the board",
        )
    if way is None:
        return next(iter(ways))
    if way not in ways:
        known = {
            "signals": "its model says no steps on DTR and RTS that reset it (reset: signals)",
            "power": "its power cannot be switched from here",
            "soft": "its model describes neither a U-Boot nor a Linux to be told",
        }
        raise UsageError(
            known[way], thing=name, action=f"it has: {', '.join(ways) or 'no other way either'}"
        )
    return way


def reset(
    act: Callable[[], None],
    way: str,
    watcher: Watcher,
    rom: Sequence[re.Pattern[bytes]],
    *,
    timeout_s: float,
) -> ResetResult:
    """Reset a board and prove it.

    Args:
        act: Resets it.
        way: The name of what ``act`` does.
        watcher: Sees what it says; its line is leased to us.
        rom: What it begins with.
        timeout_s: How long that may take, seconds.

    Raises:
        LabctlError: It could not be told to, or did not show its first words.
    """
    watcher.drain(quiet_s=_QUIET_S, most_s=_SETTLE_S)
    watcher.forget()
    started = time.monotonic()
    act()
    if not rom:
        came = watcher.drain(quiet_s=_FIRST_WORDS_S, most_s=_FIRST_WORDS_S)
        lines = [line for one in came.splitlines() if (line := clean_line(one, limit=120))]
        return ResetResult(way, None, lines[0] if lines else "", time.monotonic() - started)
    banners = {f"banner {at}": sign for at, sign in enumerate(rom)}
    try:
        # A panic of before, or the kernel's last words, are no reason to give up.
        watcher.wait(banners, timeout_s=timeout_s, panic=False)
    except NotSeenError as error:
        said = watcher.last_words() or "nothing"
        raise LabctlError(
            f"it was reset ({way}), and did not show its first words within {timeout_s:g} s; "
            f"it last said: {said}",
            thing=watcher.name,
            action=error.action,
        ) from None
    seconds = time.monotonic() - started
    watcher.drain(quiet_s=_QUIET_S, most_s=_SETTLE_S)  # the rest of that line
    return ResetResult(way, True, _line_of(watcher, rom), seconds)


def _line_of(watcher: Watcher, rom: Sequence[re.Pattern[bytes]]) -> str:
    """Return the last line that begins as the board does."""
    text = bytes(watcher.seen)
    found = [match.start() for sign in rom for match in sign.finditer(text)]
    if not found:
        return watcher.last_words()
    return clean_line(text[max(found) :].strip().partition(b"\n")[0], limit=120)
