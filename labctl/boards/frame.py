"""One answer, taken out of the stream between its marks, and held against its checksum."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from labctl.boards import noise
from labctl.boards.cksum import cksum
from labctl.boards.dialects.base import Marks

_MD5_DIGITS = 32


@dataclass(frozen=True)
class Answer:
    """One answer as it arrived.

    Attributes:
        body: The output.
        status: The exit code.
        ran: Tag of the command that the shell ran last, where it says so.
        crc: Checksum of the output, where the shell says one.
        size: Its size, bytes.
        checked: The body fits both.
    """

    body: bytes
    status: int | None
    ran: str | None
    crc: str | None
    size: int | None
    checked: bool


class Frame:
    """Collects one answer from the stream.

    Args:
        marks: The marks around it.
        live: Gets its whole lines as they come, or None.
        limit: The most bytes that it may have.
        own_newline: The dialect puts a newline before the end mark.

    Attributes:
        answer: The answer once it is complete.
        damaged: Its end came, and its beginning was lost.
    """

    def __init__(
        self,
        marks: Marks,
        live: Callable[[bytes], None] | None,
        limit: int,
        *,
        own_newline: bool,
    ) -> None:
        # The exit code stands there twice: no checksum is over it.
        self._end = re.compile(
            re.escape(marks.end) + rb" (\d+)(?: (t\w*))?(?: ([0-9a-f]+) (\d+))? +(\1) *\r*\n"
        )
        self._begin = marks.begin
        self._end_mark = marks.end
        self._live = live
        self._limit = limit
        self._own_newline = own_newline
        self._raw = bytearray()
        self._clean = bytearray()
        self._splitter = noise.NoiseSplitter()
        self._looked = 0
        self._shown: int | None = None
        self.answer: Answer | None = None
        self.damaged = False

    @property
    def noise(self) -> list[bytes]:
        """Kernel messages in between; none where they are part of the answer itself."""
        return self._splitter.noise

    @property
    def begun(self) -> bool:
        """Whether the begin mark was seen."""
        return self._begin in self._clean or self._begin in self._raw

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
        if self._live:
            self._show()
        # The mark may have come in part.
        start = max(0, self._looked - 128)
        match = self._end.search(self._clean, start)
        self._looked = len(self._clean)
        if match:
            self.answer = self._compose(match)
            self.damaged = self.answer is None

    def _compose(self, match: re.Match[bytes]) -> Answer | None:
        """Return the answer that the end mark completes; None if its beginning was lost."""
        status = int(match.group(1))
        ran = match.group(2).decode() if match.group(2) else None
        clean = self._body(bytes(self._clean), match.start())
        if match.group(3) is None:
            if clean is None:
                return None
            body = _plain(clean)
            if self._own_newline:
                body = body.removesuffix(b"\n")
            return Answer(body, status, ran, None, None, checked=False)
        crc, size = match.group(3).decode(), int(match.group(4))
        raw = bytes(self._raw)
        # What looks like kernel messages may be what was asked for (dmesg): whole first.
        whole = self._body(raw, raw.rfind(self._end_mark))
        for candidate in (whole, clean):
            for body in (_plain(candidate), candidate) if candidate is not None else ():
                # The newline before the end mark is ours.
                exact = body[:-1] if body.endswith(b"\n") else body
                exact = exact[:-1] if len(exact) == size + 1 and exact.endswith(b"\r") else exact
                if len(exact) == size and fits(exact, crc):
                    if candidate is whole and whole != clean:
                        self._splitter.noise.clear()
                    return Answer(exact, status, ran, crc, size, checked=True)
        return Answer(_plain(clean or b""), status, ran, crc, size, checked=False)

    def _body(self, text: bytes, end: int) -> bytes | None:
        begin = text.find(self._begin)
        if begin < 0 or end < 0:
            return None
        start = text.find(b"\n", begin)
        return text[start + 1 : end] if 0 <= start < end else None

    def _show(self) -> None:
        """Pass on whole lines, so that no part of the end mark is shown."""
        assert self._live is not None
        if self._shown is None:
            begin = self._clean.find(self._begin)
            start = self._clean.find(b"\n", begin) if begin >= 0 else -1
            if start < 0:
                return
            self._shown = start + 1
        stop = self._clean.rfind(b"\n") + 1
        mark = self._clean.find(self._end_mark, self._shown)
        if mark >= 0:
            stop = mark
        if self._own_newline:
            # The last newline may be the one before the mark.
            end = self._clean[:stop]
            stop -= 2 if end.endswith(b"\r\n") else int(end.endswith(b"\n"))
        if stop > self._shown:
            self._live(_plain(bytes(self._clean[self._shown : stop])))
            self._shown = stop


def fits(data: bytes, checksum: str) -> bool:
    """Tell whether ``checksum`` is the one of ``data``: MD5 in hexadecimal, or that of cksum."""
    if len(checksum) == _MD5_DIGITS:
        return hashlib.md5(data, usedforsecurity=False).hexdigest() == checksum
    return checksum == str(cksum(data))


def _plain(data: bytes) -> bytes:
    """Undo what the tty does to newlines (ONLCR, termios(3))."""
    return data.replace(b"\r\n", b"\n")
