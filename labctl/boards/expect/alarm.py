"""What ends a script whenever it comes: the panics of the board's model, and its own list."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from labctl.boards.channel import Channel
from labctl.boards.signs import BoardPanicError
from labctl.errors import LabctlError
from labctl.report.sanitize import clean_line

_LONGEST = 16 << 10
# A panic prints some tens of lines; then the board is silent or starts again.
_QUIET_S = 0.5
_MOST_S = 3.0
_PANIC_TEXT = 8 << 10


class Alarm:
    """Looks at all that is read.

    Args:
        channel: Where the rest of a panic comes from.
        name: The board, for messages.
        panics: What a panic looks like.
        fail_on: What else ends the script: as it was written, and as it is searched for.
    """

    def __init__(
        self,
        channel: Channel,
        name: str,
        panics: Sequence[re.Pattern[bytes]],
        fail_on: Sequence[tuple[str, re.Pattern[bytes]]],
    ) -> None:
        self._channel = channel
        self._name = name
        self._panics = panics
        self._fail_on = fail_on
        self._text = b""

    def feed(self, data: bytes) -> None:
        """Take what was read.

        Raises:
            BoardPanicError: The board panicked.
            LabctlError: Something of the script's list came.
        """
        self._text += data
        for pattern in self._panics:
            if match := pattern.search(self._text):
                text = self._text[match.start() :] + self._rest()
                self._text = b""
                raise BoardPanicError(self._name, text[:_PANIC_TEXT])
        self.look(self._text)
        # Whole lines need not be looked at again.
        self._text = self._text[self._text.rfind(b"\n") + 1 :][-_LONGEST:]

    def look(self, text: bytes) -> None:
        """Look for the script's own list in ``text``.

        Raises:
            LabctlError: Something of it is there.
        """
        for words, pattern in self._fail_on:
            if match := pattern.search(text):
                begin = text.rfind(b"\n", 0, match.start()) + 1
                end = text.find(b"\n", match.end())
                line = clean_line(text[begin : end if end >= 0 else len(text)], limit=120)
                self._text = b""
                raise LabctlError(f"{words!r} of 'fail_on' came: {line}")

    def _rest(self) -> bytes:
        deadline = time.monotonic() + _MOST_S
        parts = []
        while (left := deadline - time.monotonic()) > 0:
            data = self._channel.read(min(_QUIET_S, left))
            if not data:
                break
            parts.append(data)
        return b"".join(parts)
