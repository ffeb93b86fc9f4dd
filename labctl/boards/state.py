"""Where a board is: detected, not remembered.

What the record ends with is a hypothesis; an answer to a probe is the proof. A shell proves itself
by computing something (see `Shell.probe`), a login prompt by coming again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from labctl.boards.channel import Channel
from labctl.boards.signs import NotSeenError, Signs, Watcher, last_line, prompt_at_end

_PROBE_S = 5.0
_LISTEN_S = 0.3
# A board that boots or logs talks on; so long is waited for it to come to a prompt.
_SETTLE_S = 3.0
# A comment in every shell that we know, and harmless to most of what reads a line. An empty line
# would make U-Boot repeat its last command.
HARMLESS = b"#\r"
_CTRL_C = b"\x03"
# A shell, U-Boot's too, that waits for the rest of a line.
_UNFINISHED = b"> "


class State(StrEnum):
    """Where a board is."""

    ROM = "rom"
    COUNTING = "counting"
    UBOOT = "uboot"
    LOGIN = "login"
    PASSWORD = "password"  # noqa: S105 - the name of a state
    SHELL = "shell"
    PANIC = "panic"
    BUSY = "busy"
    SILENT = "silent"


@dataclass(frozen=True)
class Finding:
    """What was found out.

    Attributes:
        state: Where the board is.
        proved: It answered a probe; otherwise it only looks so.
        evidence: The line that says so.
    """

    state: State
    proved: bool
    evidence: str


class Shell(Protocol):
    """What a conversation with one kind of shell can do."""

    def probe(self, timeout: float) -> bool:
        """Tell whether this shell answers."""
        ...


_BY_PROMPT = {
    "autoboot": State.COUNTING,
    "uboot": State.UBOOT,
    "login": State.LOGIN,
    "password": State.PASSWORD,
    "shell": State.SHELL,
}


class Detector:
    """Finds out where a board is.

    Args:
        channel: Its line, leased to us.
        signs: Its patterns.
        name: The board, for messages.
        uboot: Conversation with its boot loader, or None.
        linux: Conversation with its shell, or None.
    """

    def __init__(
        self,
        channel: Channel,
        signs: Signs,
        name: str,
        *,
        uboot: Shell | None,
        linux: Shell | None,
    ) -> None:
        self.channel = channel
        self.signs = signs
        self.watcher = Watcher(channel, signs, name)
        self._shells = {State.UBOOT: uboot, State.SHELL: linux}

    def detect(self, tail: bytes) -> Finding:
        """Return where the board is; sends a harmless probe where its last words leave it open.

        Args:
            tail: The last bytes of the record, up to where the channel reads on.
        """
        self.watcher.restart(tail)
        fresh = self.watcher.drain(quiet_s=0.05, most_s=_LISTEN_S)
        text = tail + fresh
        guess = _BY_PROMPT.get(prompt_at_end(text, self.signs) or "")
        if guess is not None and (found := self._prove(guess)):
            return found
        if self._panicked(text):
            return Finding(State.PANIC, False, self.watcher.last_words())
        heard = self.watcher.drain(quiet_s=_LISTEN_S, most_s=_SETTLE_S)
        if not heard or last_line(text + heard) == _UNFINISHED:
            return self._provoke(text)
        # It was talking; where it stopped, it may have come to a prompt.
        text += heard
        guess = _BY_PROMPT.get(prompt_at_end(text, self.signs) or "")
        if guess is not None and (found := self._prove(guess)):
            return found
        return self._talking(text)

    def _prove(self, guess: State) -> Finding | None:
        evidence = self.watcher.last_words()
        shell = self._shells.get(guess)
        if shell is not None:
            return Finding(guess, True, evidence) if shell.probe(_PROBE_S) else None
        if guess is State.LOGIN and self.signs.login is not None:
            self.watcher.forget()
            self.channel.write(b"\r")
            try:
                self.watcher.wait({"login": self.signs.login}, timeout_s=_PROBE_S, at_end=True)
            except NotSeenError:
                return None
            return Finding(guess, True, evidence)
        return Finding(guess, False, evidence)

    def _panicked(self, text: bytes) -> bool:
        """Tell whether a panic is the last thing that ``text`` tells of: no boot came after it."""
        last = max((m.start() for p in self.signs.panic for m in p.finditer(text)), default=-1)
        reset = max((m.start() for p in self.signs.rom for m in p.finditer(text)), default=-1)
        return last > reset

    def _talking(self, text: bytes) -> Finding:
        evidence = self.watcher.last_words()
        if any(pattern.search(text[-4096:]) for pattern in self.signs.rom):
            return Finding(State.ROM, False, evidence)
        return Finding(State.BUSY, False, evidence)

    def _provoke(self, text: bytes) -> Finding:
        self.watcher.forget()
        self.channel.write(HARMLESS)
        answer = self.watcher.drain(quiet_s=0.5, most_s=_PROBE_S)
        name = prompt_at_end(answer, self.signs)
        if name == "password":
            # "#" was taken for a login name: leave the question, the prompt comes again.
            self.channel.write(_CTRL_C)
            self.watcher.drain(quiet_s=0.5, most_s=_PROBE_S)
            return Finding(State.LOGIN, True, self.watcher.last_words())
        if last_line(answer) == _UNFINISHED:
            # A line broke off inside a quote. Nobody types the rest: the line is ours.
            self.channel.write(_CTRL_C)
            name = prompt_at_end(self.watcher.drain(quiet_s=0.5, most_s=_PROBE_S), self.signs)
        guess = _BY_PROMPT.get(name or "")
        if guess is not None and (found := self._prove(guess)):
            return found
        if self._panicked(text):
            return Finding(State.PANIC, False, self.watcher.last_words())
        # An echo alone is the terminal's, not a program's.
        said = answer.replace(HARMLESS.strip(), b"").strip()
        state = State.BUSY if answer else State.SILENT
        return Finding(state, bool(said), self.watcher.last_words())
