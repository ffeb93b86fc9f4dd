"""One script for many items: how it is put together, and how its output is taken apart.

Each item's output stands between a begin and an end line that carry a random word, so that nothing
an item prints can be taken for them. The whole script is one shell function: the shell reads it to
the end before it runs any of it, so a script that is cut off in transfer does nothing at all, and
no command in it can eat the rest of it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

_PREAMBLE = """\
labctl_main() {
export LC_ALL=C LANGUAGE=C DEBIAN_FRONTEND=noninteractive
export PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
umask 022
cd / || return 1
# When the connection is cut the item in flight is finished; `alive` then stops before the next.
trap '' HUP PIPE
say() { printf '\\n@%s %s\\n' "$N" "$*" 2>/dev/null; }
alive() { say "$@" || exit 9; }
"""

_WORD = re.compile(r"[a-zA-Z0-9@%_+=:,./-]+\Z")


def quote(word: str) -> str:
    """Return ``word`` as one word of a POSIX shell.

    Raises:
        ValueError: It holds a NUL byte, which no argument can.
    """
    if "\0" in word:
        raise ValueError("a NUL byte cannot be in a shell word")
    if _WORD.match(word):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"


def record(name: str, snippet: str) -> str:
    """Return ``snippet`` in a subshell of its own, its output in a record called ``name``."""
    return f"alive begin {quote(name)}\n(\n{snippet}\n) </dev/null 2>/dev/null\nsay end $?\n"


def step(name: str, snippet: str) -> str:
    """Return ``snippet`` as a record that ends the script if it fails, errors in its output.

    File descriptor 9 (the machine's lock, see the engine) is not for what the snippet starts.
    """
    return (
        f"alive begin {quote(name)}\n(\n{snippet}\n) </dev/null 2>&1 9>&-\nrc=$?\n"
        'say end $rc\n[ "$rc" -eq 0 ] || { say stopped; exit 0; }\n'
    )


@dataclass(frozen=True)
class Record:
    """The output of one snippet: its name, what it printed, its exit status."""

    name: str
    output: str
    status: int


@dataclass(frozen=True)
class Script:
    """A whole script and the random word of its record lines."""

    text: str
    nonce: str


def assemble(body: str) -> Script:
    """Return the script that runs ``body`` (records and steps) from start to end."""
    nonce = secrets.token_hex(8)
    text = f"{_PREAMBLE}N={nonce}\nsay hello\n{body}say done\n}}\nlabctl_main\nexit 0\n"
    return Script(text, nonce)


class RecordReader:
    """Takes the output of a script apart as it arrives.

    Args:
        nonce: The script's random word.
        on_begin: Called with a record's name when it begins.
        on_record: Called with each whole record.
        on_line: Called with the open record's name and each whole line of its output.

    Attributes:
        records: Whole records so far.
        started: The script runs (its first word was seen).
        finished: The script ran to its end.
        stopped: A step failed and the script stopped itself there.
        busy: The script found the machine's lock taken and did nothing.
        open: Name of the record that has begun and not ended, or None.
        noise: What came before the script's first word (a login banner, .bashrc).
    """

    def __init__(
        self,
        nonce: str,
        *,
        on_begin: Callable[[str], None] | None = None,
        on_record: Callable[[Record], None] | None = None,
        on_line: Callable[[str, str], None] | None = None,
    ) -> None:
        self._mark = f"@{nonce} ".encode()
        self._on_begin = on_begin
        self._on_record = on_record
        self._on_line = on_line
        self._partial = b""
        self._lines: list[bytes] = []
        self.records: list[Record] = []
        self.started = self.finished = self.stopped = self.busy = False
        self.open: str | None = None
        self.noise = b""

    def feed(self, data: bytes) -> None:
        """Take the next piece of output."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            if line.startswith(self._mark):
                self._control(line[len(self._mark) :].decode(errors="replace"))
            elif not self.started:
                self.noise = (self.noise + line + b"\n")[-4096:]
            elif self.open is not None:
                self._lines.append(line)
                if self._on_line and line:
                    self._on_line(self.open, line.decode(errors="replace"))

    def _control(self, text: str) -> None:
        word, _, rest = text.partition(" ")
        if word == "hello":
            self.started = True
        elif word == "begin":
            self.open, self._lines = rest, []
            if self._on_begin:
                self._on_begin(rest)
        elif word == "end" and self.open is not None:
            # `say` puts a newline before its line, so that it starts one in any case; that
            # newline is not the snippet's.
            body = b"\n".join(self._lines)
            entry = Record(self.open, body.decode(errors="replace"), int(rest))
            self.records.append(entry)
            self.open = None
            if self._on_record:
                self._on_record(entry)
        elif word == "stopped":
            self.stopped = True
        elif word == "busy":
            self.busy = True
        elif word == "done":
            self.finished = True
