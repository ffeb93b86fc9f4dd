"""A conversation with a shell on a line: a command in, its output and exit code out.

The answer stands between marks that no other answer has, so neither a prompt inside the output nor
what came before or after matters. A POSIX shell says the checksum of its output too: an answer
that arrived damaged is printed again, and never returned.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from labctl.boards.channel import Channel
from labctl.boards.dialects.base import Dialect, Marks
from labctl.boards.errors import (
    BoardResetError,
    CommandTimeoutError,
    DamagedError,
    InterruptedCommandError,
)
from labctl.boards.exchange import Exchange, UnknownWordsError
from labctl.boards.frame import NO_CHECKSUM, NO_FILE, UNFINISHED, Answer, fits
from labctl.boards.sender import SenderProfile
from labctl.boards.signs import Signs
from labctl.errors import LabctlError

__all__ = [
    "BoardResetError",
    "CommandTimeoutError",
    "DamagedError",
    "InterruptedCommandError",
    "Result",
    "Session",
]

OUTPUT_LIMIT = 64 << 20
_TRIES = 3
_LOOKS = 8
_FETCHES = 200
_SMALL = 64
_PREPARE_S = 5.0
# Saved output takes the board's memory; it is removed after so many commands or bytes.
_KEPT_COMMANDS = 32
_KEPT_BYTES = 256 << 10


@dataclass(frozen=True)
class Result:
    """The answer to one command.

    Attributes:
        output: What it printed, standard error merged in, newlines as the program wrote them.
        exit_code: 0 to 255, or None where the shell says none.
        noise: Kernel messages that came in between.
        seconds: From the first byte sent to the end mark.
        bytes_sent: Bytes sent for it.
        bytes_received: Bytes that came meanwhile.
        checked: The output fits the checksum that the shell gave.
        fetches: How often the saved output was printed again.
    """

    output: bytes
    exit_code: int | None
    noise: list[bytes]
    seconds: float
    bytes_sent: int
    bytes_received: int
    checked: bool
    fetches: int


class Session:
    """A conversation with one shell.

    Args:
        channel: The line, leased to us.
        dialect: The kind of shell.
        signs: Prompts, and what a panic and a reset look like.
        name: The board, for messages.
        profile: What is known of its receiver; updated.
        output_limit: No answer may be longer, bytes.
    """

    def __init__(
        self,
        channel: Channel,
        dialect: Dialect,
        signs: Signs,
        name: str,
        *,
        profile: SenderProfile | None = None,
        output_limit: int = OUTPUT_LIMIT,
    ) -> None:
        self.channel = channel
        self.dialect = dialect
        self.profile = profile or SenderProfile()
        self._name = name
        self._exchange = Exchange(channel, dialect, signs, name, self.profile, output_limit)
        self._prepared = False
        # An error or an exception left the shell in the middle of something.
        self._in_doubt = False
        # Where the shell saves output; empty where it cannot.
        self._folder = ""
        self._kept_commands = 0
        self._kept_bytes = 0
        self._asked = Marks("")
        # Tag of the command that surely was the last to run; "t" is none.
        self._ran = "t"

    # -- proof -------------------------------------------------------------------------------

    def probe(self, timeout: float) -> bool:
        """Tell whether this kind of shell answers within ``timeout`` seconds; changes nothing."""
        tag = self._exchange.marks().tag
        line, proof = self.dialect.probe(tag), self.dialect.proof(tag)
        return self._exchange.ask_for(line, proof, timeout) is not None

    def _prepare(self, timeout: float) -> bool:
        """Tell the shell what `run` needs; return whether it answered."""
        ready = self._ready(timeout)
        for _ in range(_TRIES):
            if ready != b"-":
                break
            if not self._exchange.tell(self.dialect.teach()):
                return False
            ready = self._ready(timeout)
        if ready is None or ready == b"-":
            return False
        self._folder = ready[1:].decode("ascii", "replace")
        self._kept_commands = self._kept_bytes = 0
        self._ran = "t"
        self._prepared = True
        self._in_doubt = False
        return True

    def _ready(self, timeout: float) -> bytes | None:
        """Return what the shell says of its readiness: see `Dialect.ready`."""
        tag = self._exchange.marks().tag
        line = self.dialect.ready(tag)
        if not line:
            return b"=" if self.probe(timeout) else None
        match = self._exchange.ask_for(line, b"@P" + tag.encode() + rb"(-|=\S*)", timeout)
        return match.group(1) if match else None

    def _settle(self, deadline: float) -> None:
        """Get the shell's attention and tell it what `run` needs.

        Raises:
            LabctlError: It does not answer.
        """
        if not self._in_doubt and self._prepare(min(_PREPARE_S, deadline - time.monotonic())):
            return
        # What ran is stopped; then a terminal without echo, or in raw mode, is put right.
        for keys in ([], self.dialect.revive()):
            self._exchange.interrupt()
            for line in keys:
                self._exchange.press(line)
            left = deadline - time.monotonic()
            if left > 0 and self._prepare(min(_PREPARE_S, left)):
                return
        raise LabctlError(f"no {self.dialect.name} answers", thing=self._name,
                          action=f"labctl board state {self._name}")  # fmt: skip

    # -- commands ----------------------------------------------------------------------------

    def run(
        self,
        command: str,
        *,
        timeout: float,
        live: Callable[[bytes], None] | None = None,
        idempotent: bool = False,
    ) -> Result:
        """Run ``command`` and return its answer.

        Args:
            command: What to run, in the words of the shell.
            timeout: Seconds that it may take in all.
            live: Gets the output as it comes; it is then neither saved nor checked.
            idempotent: It may be run again where its answer got lost.

        Raises:
            UsageError: The shell cannot take the command.
            CommandTimeoutError: It did not end in time; it was interrupted.
            DamagedError: Its answer was damaged and could not be fetched whole.
            InterruptedCommandError: Something stopped it.
            BoardPanicError: The board panicked.
            BoardResetError: The board was reset meanwhile.
            SendError: The board does not echo what it is sent.
            LineGoneError: The line went away.
        """
        started = time.monotonic()
        deadline = started + timeout
        exchange = self._exchange
        exchange.sent = exchange.received = 0
        exchange.noise = []
        answer, fetches = self._answer(command, deadline, live, idempotent=idempotent)
        self._in_doubt = False
        return Result(
            output=answer.body,
            exit_code=answer.status,
            noise=exchange.noise,
            seconds=time.monotonic() - started,
            bytes_sent=exchange.sent,
            bytes_received=exchange.received,
            checked=answer.checked,
            fetches=fetches,
        )

    def _answer(
        self,
        command: str,
        deadline: float,
        live: Callable[[bytes], None] | None,
        *,
        idempotent: bool,
    ) -> tuple[Answer, int]:
        """Return the answer to ``command`` and how often its output was fetched again."""
        for _ in range(_TRIES):
            if self._in_doubt or not self._prepared:
                self._settle(deadline)
            try:
                answer = self._ask(command, deadline, live)
            except UnknownWordsError:
                self._prepared = False
                continue
            if answer is not None and self._is_whole(answer):
                return self._accepted(answer), 0
            if self._saves(live):
                saved, fetches = self._saved(self._asked, deadline)
                if saved is not None:
                    return self._accepted(saved), fetches
                continue  # the shell says that it did not run
            # What it ran into is not known: a quote that was not closed asks for more.
            self._in_doubt = True
            if not idempotent:
                break
        raise self._lost("the answer was lost on the way")

    def _saves(self, live: Callable[[bytes], None] | None) -> bool:
        return self.dialect.saves_output and live is None and bool(self._folder)

    @staticmethod
    def _is_whole(answer: Answer) -> bool:
        """Tell whether ``answer`` is all that can be had: proved, or of a shell without a proof."""
        if answer.crc == NO_CHECKSUM:
            return bool(answer.body)  # otherwise it cannot print either
        return answer.checked or answer.crc is None

    def _accepted(self, answer: Answer) -> Answer:
        """Note what is known now of the shell."""
        self._ran = self._asked.tag
        self._kept_commands += 1
        self._kept_bytes += answer.size or 0
        if answer.gone:
            self._prepared = False
        return answer

    def _lost(self, cause: str) -> DamagedError:
        return DamagedError(
            f"{cause}; the command may have run",
            thing=self._name,
            action="run it again if that is safe (--idempotent does so by itself)",
        )

    def send_line(self, line: str) -> None:
        """Type a line and wait for no answer: for commands that never return, such as boot."""
        self._prepared = self._in_doubt = False
        self._exchange.type([line.encode()], echo_s=1.0)

    def _ask(
        self, command: str, deadline: float, live: Callable[[bytes], None] | None
    ) -> Answer | None:
        """Send the command and return its answer, None if it got lost."""
        self._asked = marks = self._exchange.marks()
        saved = self._saves(live)
        lines = self.dialect.frame(command, marks, live=not saved)
        if saved and (self._kept_commands > _KEPT_COMMANDS or self._kept_bytes > _KEPT_BYTES):
            lines[0] = self.dialect.tidy(lines[0], self._folder)
            self._kept_commands = self._kept_bytes = 0
        self._in_doubt = True
        self._exchange.type(lines)
        return self._exchange.answer(marks, deadline, live, saved=saved)

    # -- damage ------------------------------------------------------------------------------

    def _saved(self, asked: Marks, deadline: float) -> tuple[Answer | None, int]:
        """Return the saved answer to ``asked``, or None if the shell did not run it; and the tries.

        The shell says with each fetch which command it ran last.
        """
        votes: list[tuple[int, str | None, str | None, int | None]] = []
        fetches = 0
        while fetches < _LOOKS:
            fetches += 1
            answer = self._fetch(0, None, deadline)
            if answer is None:
                continue
            if answer.ran == asked.tag and self._is_whole(answer):
                return answer, fetches
            # No checksum is over what the shell says of itself: twice the same is believed.
            vote = (answer.status, answer.ran, answer.crc, answer.size)
            if vote not in votes:
                votes.append(vote)
                continue
            if answer.ran == self._ran:
                return None, fetches
            if answer.ran == asked.tag + UNFINISHED:
                raise InterruptedCommandError(
                    "the command was stopped before it ended (Ctrl-C, or a signal to the shell)",
                    thing=self._name,
                )
            if answer.ran == asked.tag:
                if answer.crc in (NO_FILE, NO_CHECKSUM):
                    raise self._unprintable(answer)
                return self._fetch_parts(answer, fetches, deadline)
        raise DamagedError(
            f"{fetches} fetches did not bring its answer undamaged",
            thing=self._name,
            action="the line loses bytes: check its rate and cable",
        )

    def _unprintable(self, answer: Answer) -> DamagedError:
        self._prepared = False
        cause = (
            f"what it printed is gone from {self._folder}"
            if answer.crc == NO_FILE
            else "the shell finds neither cksum nor md5sum to prove what it printed"
        )
        return DamagedError(
            f"{cause}; its exit code was {answer.status}", thing=self._name,
            action="let it run live (--live), or see to PATH on the board",
        )  # fmt: skip

    def _fetch(self, begin: int, count: int | None, deadline: float) -> Answer | None:
        marks = self._exchange.marks()
        line = self.dialect.fetch(marks, begin, count)
        self._exchange.type([line])
        try:
            return self._exchange.answer(marks, deadline, None, saved=True)
        except UnknownWordsError:
            self._prepared = False
            raise self._lost("the shell was started anew meanwhile") from None

    def _fetch_parts(self, whole: Answer, fetches: int, deadline: float) -> tuple[Answer, int]:
        """Print the saved output again, in ever smaller parts, until each fits its checksum."""
        assert whole.size is not None
        parts: list[bytes] = []
        middle = whole.size // 2
        wanted = [(middle, whole.size), (0, middle)]
        while wanted:
            begin, end = wanted.pop()
            if fetches >= _FETCHES:
                raise DamagedError(
                    f"{fetches} fetches did not bring its answer undamaged",
                    thing=self._name,
                    action="the line loses bytes: check its rate and cable",
                )
            fetches += 1
            part = self._fetch(begin, end - begin, deadline)
            if part is not None and part.checked and part.size == end - begin:
                parts.append(part.body)
            elif end - begin > _SMALL:
                middle = (begin + end) // 2
                wanted += [(middle, end), (begin, middle)]
            else:
                wanted.append((begin, end))
        body = b"".join(parts)
        if whole.crc is None or not fits(body, whole.crc):
            raise DamagedError("its parts do not fit the checksum of the whole", thing=self._name)
        return replace(whole, body=body, checked=True), fetches
