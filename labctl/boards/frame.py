"""Answers between marks, taken out of the stream of a console and compared with their checksum.

An answer that carries a checksum is right or is none. Kernel messages that fell into it are taken
out; since an answer may itself look like kernel messages (dmesg prints the same), the checksum says
which of them were part of it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from labctl.boards import noise
from labctl.boards.cksum import cksum
from labctl.boards.dialects.base import Marks

_MD5_DIGITS = 32
# Messages that may each be part of the answer or not: so many sets of them are tried.
_SETS = 256
_HEADS = re.compile(rb"(?=%s)" % noise.NOISE.pattern)
# The longest mark, with its numbers, and a margin.
_MARK_BYTES = 160
# What the shell says in place of a checksum.
NO_CHECKSUM = "e"
NO_FILE = "f"
# Behind the tag of a command that has begun and not ended.
UNFINISHED = "i"


@dataclass(frozen=True)
class Answer:
    """What stood between the marks.

    Attributes:
        body: The output.
        status: Exit code.
        ran: Tag of the command that the shell ran last, with `UNFINISHED` behind it if it has not
            ended; None where the shell does not say.
        crc: Checksum that the shell gave, `NO_CHECKSUM`, `NO_FILE`, or None.
        size: Size that the shell gave.
        checked: The body fits them.
        gone: The command ended the shell.
    """

    body: bytes
    status: int
    ran: str | None
    crc: str | None
    size: int | None
    checked: bool
    gone: bool = False


class Frame:
    """Collects one answer from the stream.

    Args:
        marks: The marks around it.
        saved: The answer was saved first and carries its checksum.
        live: Gets the output as it comes.
        limit: More bytes than this are no answer.
        own_newline: The dialect puts a newline before the end mark.

    Attributes:
        answer: The answer, once it is complete.
        damaged: The end mark came, but no begin mark.
    """

    def __init__(
        self,
        marks: Marks,
        *,
        saved: bool,
        live: Callable[[bytes], None] | None,
        limit: int,
        own_newline: bool,
    ) -> None:
        # The exit code stands there twice: no checksum is over it.
        fields = rb"(?: (t\w*|i)?)?(?: ([0-9a-f]+) (\d+))?"
        if saved:
            fields = rb" (t\w*|i)? ([0-9a-f]+) (\d+)"
        self._end = re.compile(re.escape(marks.end) + rb" (\d+)" + fields + rb" (\1) *\r*\n")
        self._begun = re.compile(re.escape(marks.begin) + rb"\r*\n")
        self._marks = marks
        self._live = live
        self._limit = limit
        self._own_newline = own_newline
        self._raw = bytearray()
        self._clean = bytearray()
        self._splitter = noise.NoiseSplitter()
        self._looked = 0
        self._shown: int | None = None
        self._kept_noise: list[bytes] | None = None
        self.begun = False
        self.answer: Answer | None = None
        self.damaged = False

    @property
    def noise(self) -> list[bytes]:
        """Kernel messages in between; none that are part of the answer itself."""
        return self._splitter.noise if self._kept_noise is None else self._kept_noise

    @property
    def recent(self) -> bytes:
        """The last bytes that came."""
        return bytes(self._raw[-4096:])

    @property
    def too_long(self) -> bool:
        """Whether more came than an answer may have."""
        return len(self._raw) > self._limit

    def feed(self, data: bytes) -> None:
        """Take bytes; sets `answer` when they complete it."""
        self._raw += data
        self._clean += self._splitter.feed(data)
        start = max(0, self._looked - _MARK_BYTES)
        if not self.begun:
            self.begun = bool(
                self._begun.search(self._clean, start)
                or self._begun.search(self._raw, max(0, len(self._raw) - len(data) - _MARK_BYTES))
            )
        if self._live:
            self._show()
        match = self._end.search(self._clean, start)
        self._looked = len(self._clean)
        if match:
            self.answer = self._compose(match)
            self.damaged = self.answer is None

    def _compose(self, match: re.Match[bytes]) -> Answer | None:
        """Return the answer that the end mark completes; None if its beginning was lost."""
        ran = (match.group(2) or b"").decode()
        if ran in ("", UNFINISHED):
            ran = self._marks.tag + ran
        crc = match.group(3).decode() if match.group(3) else None
        size = int(match.group(4)) if match.group(4) else None
        clean = self._body(bytes(self._clean), match.start())
        body = self._proved(clean, crc, size) if crc and size is not None else None
        checked = body is not None
        if body is None:
            if clean is None and crc is None:
                return None
            body = plain(clean or b"")
            if self._own_newline:
                body = body.removesuffix(b"\n")
        gone = b"@X" + self._marks.tag.encode() in self._clean
        return Answer(body, int(match.group(1)), ran, crc, size, checked, gone)

    def _proved(self, clean: bytes | None, crc: str, size: int) -> bytes | None:
        """Return the body that fits its checksum, or None."""
        raw = bytes(self._raw)
        whole = self._body(raw, raw.rfind(self._marks.end))
        for candidate in (whole, clean):
            if candidate is not None and (body := self._exact(candidate, crc, size)) is not None:
                if candidate is whole and whole != clean:
                    self._kept_noise = []
                return body
        if whole is None:
            return None
        for without, taken in _without_noise(whole, size):
            if (body := self._exact(without, crc, size)) is not None:
                self._kept_noise = taken
                return body
        return None

    def _exact(self, candidate: bytes, crc: str, size: int) -> bytes | None:
        for body in (plain(candidate), candidate):
            # The newline before the end mark is ours.
            exact = body.removesuffix(b"\n") if self._own_newline else body
            if len(exact) == size + 1:
                exact = exact.removesuffix(b"\r")
            if len(exact) == size and fits(exact, crc):
                return exact
        return None

    def _body(self, text: bytes, end: int) -> bytes | None:
        begin = self._begun.search(text)
        return text[begin.end() : end] if begin and begin.end() <= end else None

    def _show(self) -> None:
        """Pass on whole lines, so that no part of the end mark is shown."""
        assert self._live is not None
        if self._shown is None:
            begin = self._begun.search(self._clean)
            if begin is None:
                return
            self._shown = begin.end()
        stop = self._clean.rfind(b"\n") + 1
        mark = self._clean.find(self._marks.end, self._shown)
        if mark >= 0:
            stop = mark
        if self._own_newline:
            # The last newline may be the one before the mark.
            end = self._clean[max(self._shown, stop - 2) : stop]
            stop -= 2 if end.endswith(b"\r\n") else int(end.endswith(b"\n"))
        if stop > self._shown:
            self._live(plain(bytes(self._clean[self._shown : stop])))
            self._shown = stop


def _without_noise(data: bytes, size: int) -> Iterator[tuple[bytes, list[bytes]]]:
    """Yield ``data`` without some of what looks like kernel messages, and these messages.

    Only such sets are tried whose removal leaves about ``size`` bytes.
    """
    # One may have been put into another, so each beginning counts.
    spans = [
        (match.start(), data.find(b"\n", match.start()) + 1) for match in _HEADS.finditer(data)
    ]
    spans = [span for span in spans if span[1]]
    lengths = [len(plain(data[begin:end])) for begin, end in spans]
    excess = len(plain(data)) - size
    tried = 0
    for count in range(1, len(spans) + 1):
        for chosen in itertools.combinations(range(len(spans)), count):
            tried += 1
            if tried > _SETS:
                return
            if any(spans[a][1] > spans[b][0] for a, b in itertools.pairwise(chosen)):
                continue
            # Our newline before the end mark, and one that a message was put into.
            if not 0 <= excess - sum(lengths[at] for at in chosen) <= count + 1:
                continue
            parts, position = [], 0
            for at in chosen:
                parts.append(data[position : spans[at][0]])
                position = spans[at][1]
            parts.append(data[position:])
            yield b"".join(parts), [data[slice(*spans[at])].rstrip(b"\r\n") for at in chosen]


def fits(data: bytes, checksum: str) -> bool:
    """Tell whether ``checksum`` is the one of ``data``: MD5 in hexadecimal, or that of cksum."""
    if not data:
        return checksum == "0"
    if len(checksum) == _MD5_DIGITS:
        import hashlib  # noqa: PLC0415 - 10 ms, and most boards have cksum

        return hashlib.md5(data, usedforsecurity=False).hexdigest() == checksum
    return checksum == str(cksum(data))


def plain(data: bytes) -> bytes:
    """Undo what the tty does to newlines (ONLCR, termios(3))."""
    return data.replace(b"\r\n", b"\n")
