"""A conversation with a shell on a line: a command in, its output and exit code out.

The answer stands between marks that no other answer has, so neither a prompt inside the output nor
what came before or after matters. A POSIX shell says the checksum of its output too: an answer
that arrived damaged is printed again, and never returned.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from labctl.boards import noise, sender
from labctl.boards.channel import Channel
from labctl.boards.dialects.base import Dialect, Marks
from labctl.boards.frame import Answer, Frame, fits
from labctl.boards.sender import SenderProfile
from labctl.boards.signs import BoardPanicError, Signs, prompt_at_end
from labctl.errors import LabctlError

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
OUTPUT_LIMIT = 64 << 20
_TRIES = 3
_LOOKS = 8
_FETCHES = 200
_SMALL = 64
# A prompt without the end mark: so long is waited for bytes that are still on their way.
_QUIET_S = 0.5
_GRACE_S = 1.0
_CTRL_C = b"\x03"


class DamagedError(LabctlError):
    """The answer arrived damaged, and could not be had again; it is not returned."""


class BoardResetError(LabctlError):
    """The board was reset in mid command."""


class CommandTimeoutError(LabctlError):
    """The command did not end within the time."""


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
        self._signs = signs
        self._name = name
        self._limit = output_limit
        # It begins with a letter, so that it is told from the numbers beside it.
        self._word = "t" + "".join(secrets.choice(_ALPHABET) for _ in range(4))
        self._count = 0
        self._sent = 0
        self._received = 0
        self._noise: list[bytes] = []
        self._prepared = False
        self._asked = Marks("")
        self._prompt = signs.uboot_prompt if dialect.repeats_on_return else signs.shell_prompt

    # -- proof -------------------------------------------------------------------------------

    def probe(self, timeout: float) -> bool:
        """Tell whether this kind of shell answers within ``timeout`` seconds; prepares it."""
        self._count += 1
        tag = f"{self._word}{self._count}"
        try:
            came = self._type(self.dialect.probe(tag), echo_s=min(timeout, 2.0), strict=False)
        except sender.SendError:
            return False
        deadline = time.monotonic() + timeout
        pattern = re.compile(rb"(?:^|[\r\n])@P" + tag.encode() + rb"\r*\n")
        while not pattern.search(noise.split(came)[0]):
            left = deadline - time.monotonic()
            data = self._read(max(left, 0.0))
            if not data and left <= 0:
                return False
            came += data
        self._prepared = True
        return True

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
            BoardPanicError: The board panicked.
            BoardResetError: The board was reset meanwhile.
            SendError: The board does not echo what it is sent.
            LineGoneError: The line went away.
        """
        started = time.monotonic()
        deadline = started + timeout
        self._sent = self._received = 0
        self._noise = []
        if not self._prepared and not self.probe(min(timeout, 5.0)):
            raise LabctlError(f"no {self.dialect.name} answers", thing=self._name,
                              action=f"labctl board state {self._name}")  # fmt: skip
        answer, fetches = self._answer(command, deadline, live, idempotent=idempotent)
        return Result(
            output=answer.body,
            exit_code=answer.status,
            noise=self._noise,
            seconds=time.monotonic() - started,
            bytes_sent=self._sent,
            bytes_received=self._received,
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
            answer = self._ask(command, deadline, live)
            if answer is not None and (answer.checked or answer.crc is None or live):
                return answer, 0
            if self.dialect.saves_output and live is None:
                saved, fetches = self._saved(self._asked, deadline)
                if saved is not None:
                    return saved, fetches
                continue  # the shell says that it did not run
            if not idempotent:
                break
        raise DamagedError(
            "the answer was lost on the way; the command may have run",
            thing=self._name,
            action="run it again if that is safe (--idempotent does so by itself)",
        )

    def send_line(self, line: str) -> None:
        """Type a line and wait for no answer: for commands that never return, such as boot."""
        self._prepared = False
        self._type(line.encode(), echo_s=1.0, strict=True)

    def _ask(
        self, command: str, deadline: float, live: Callable[[bytes], None] | None
    ) -> Answer | None:
        """Send the command and return its answer, None if it got lost."""
        self._asked = marks = self._marks()
        lines = self.dialect.frame(command, marks, live=live is not None)
        came = b""
        for line in lines:
            came = self._type(line, echo_s=2.0, strict=True)
        return self._await(marks, came, deadline, live)

    def _marks(self) -> Marks:
        self._count += 1
        return Marks(f"{self._word}{self._count}")

    def _type(self, line: bytes, *, echo_s: float, strict: bool) -> bytes:
        """Send a line; return what came that is not surely its echo."""
        sent = sender.send_line(
            self.channel, line, self.profile, name=self._name, echo_s=echo_s,
            strict_blanks=strict, prompt=self._prompt,
        )  # fmt: skip
        self._sent += sent.bytes_sent
        self._received += len(sent.received)
        return sent.received

    def _read(self, timeout: float) -> bytes:
        data = self.channel.read(timeout)
        self._received += len(data)
        return data

    def _await(
        self,
        marks: Marks,
        came: bytes,
        deadline: float,
        live: Callable[[bytes], None] | None,
    ) -> Answer | None:
        """Read until the end mark of ``marks``; None where the answer got lost."""
        frame = Frame(marks, live, self._limit, own_newline=self.dialect.saves_output)
        frame.feed(came)
        warned_at: float | None = None
        while frame.answer is None and not frame.damaged:
            now = time.monotonic()
            if now >= deadline:
                self._give_up(frame)
            data = self._read(min(_QUIET_S, deadline - now))
            if data:
                frame.feed(data)
                if frame.too_long:
                    self.channel.write(_CTRL_C)
                    raise DamagedError(
                        f"the output is longer than {self._limit} bytes", thing=self._name,
                        action="write it to a file on the board",
                    )  # fmt: skip
                if warned_at is None and self._alarm(frame.recent):
                    warned_at = time.monotonic()
            # Output that tells of a panic (a log that is shown) is followed by its end mark.
            if warned_at is not None and time.monotonic() - warned_at > _GRACE_S:
                self._raise_alarm(frame.recent)
            # While a program runs live, what looks like a prompt may be its own.
            may_be_lost = not data and warned_at is None and not (live and frame.begun)
            if may_be_lost and self._at_prompt(frame.recent):
                return None
        self._noise += frame.noise
        return frame.answer

    def _at_prompt(self, text: bytes) -> bool:
        return prompt_at_end(text, self._signs) in ("uboot", "shell", "login") or text.endswith(
            (b"\n> ", b"\r> ")
        )

    def _alarm(self, text: bytes) -> bool:
        return any(sign.search(text) for sign in (*self._signs.panic, *self._signs.rom))

    def _raise_alarm(self, text: bytes) -> None:
        self._prepared = False
        for sign in self._signs.panic:
            if match := sign.search(text):
                raise BoardPanicError(self._name, text[match.start() :])
        raise BoardResetError(
            "it was reset in mid command", thing=self._name,
            action=f"look with 'labctl console log {self._name} --since 1m'",
        )  # fmt: skip

    def _give_up(self, frame: Frame) -> None:
        self.channel.write(_CTRL_C)
        self._prepared = False
        from labctl.report.sanitize import clean_line  # noqa: PLC0415

        last = clean_line(frame.recent.rstrip().rpartition(b"\n")[2], limit=120)
        raise CommandTimeoutError(
            f"the command did not end in time; it last said: {last or 'nothing'}",
            thing=self._name, action="give it more with --timeout",
        )  # fmt: skip

    # -- damage ------------------------------------------------------------------------------

    def _saved(self, asked: Marks, deadline: float) -> tuple[Answer | None, int]:
        """Return the saved answer to ``asked``, or None if the shell did not run it; and the tries.

        The shell says with each fetch which command it ran last.
        """
        votes: list[tuple[int | None, str | None, int | None]] = []
        fetches = 0
        while fetches < _LOOKS:
            fetches += 1
            answer = self._fetch(0, None, deadline)
            if answer is None:
                # A shell that was started anew does not know our words.
                self.probe(min(5.0, max(0.0, deadline - time.monotonic())))
                continue
            if answer.ran != asked.tag:
                if answer.checked:
                    return None, fetches
                continue
            if answer.checked:
                return answer, fetches
            vote = (answer.status, answer.crc, answer.size)
            if vote in votes:
                return self._fetch_parts(answer, fetches, deadline)
            votes.append(vote)
        raise DamagedError(
            f"{fetches} fetches did not bring its answer undamaged",
            thing=self._name,
            action="the line loses bytes: check its rate and cable",
        )

    def _fetch(self, begin: int, count: int | None, deadline: float) -> Answer | None:
        marks = self._marks()
        line = self.dialect.fetch(marks, begin, count)
        came = self._type(line, echo_s=2.0, strict=True)
        return self._await(marks, came, deadline, None)

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
