"""U-Boot's hush shell.

Sources: U-Boot's documentation, doc/usage/cmdline.rst and doc/usage/cmd/echo.rst; common/cli_hush.c
(``$?``, quotes join, ``#`` comments); common/cli_readline.c (control characters; an empty line
repeats the last command, common/cli.c).
"""

from __future__ import annotations

from labctl.boards.dialects.base import Dialect, Marks
from labctl.errors import UsageError


class UBootShell(Dialect):
    """See the module.

    Args:
        line_limit: CONFIG_SYS_CBSIZE of the board, bytes with the final zero.
    """

    name = "uboot"
    saves_output = False
    repeats_on_return = True

    def __init__(self, line_limit: int = 512) -> None:
        self.line_limit = line_limit

    def probe(self, tag: str) -> bytes:
        """Return a line whose answer only hush gives: it has no process id, other shells do."""
        cut = len(tag) // 2
        return f'echo "@P""{tag[:cut]}""{tag[cut:]}"=$$'.encode()

    def proof(self, tag: str) -> bytes:
        """Return the pattern of that answer."""
        return b"@P" + tag.encode() + rb"=(?!\d)[^\r\n]*"

    def frame(self, command: str, marks: Marks, *, live: bool) -> list[bytes]:
        """Return the line that runs ``command``; see `Dialect.frame`."""
        bad = sorted({char for char in command if char < " " or char > "~"})
        if bad:
            raise UsageError(
                f"U-Boot takes printable ASCII only, not {', '.join(map(repr, bad))}",
                action="write several commands, joined by ';'",
            )
        bare = _bare(command)
        body = f"{bare};" if bare else ""
        line = f'echo "@B""{marks.tag}";{body}echo "@E""{marks.tag} $? $?"'
        if len(line) >= self.line_limit:
            raise UsageError(
                f"the command has {len(command)} characters; with its marks U-Boot takes "
                f"{self.line_limit - 1 - len(line) + len(command)} (CONFIG_SYS_CBSIZE)",
                action="split it, or put it into variables with setenv",
            )
        return [line.encode()]


def _bare(command: str) -> str:
    """Return ``command`` without a comment and without blanks and semicolons at its end.

    A comment would take the end mark with it, and after an open quote hush waits for more and takes
    all that follows for a part of it.

    Raises:
        UsageError: A quote is not closed, or a backslash ends the command.
    """
    quote = ""
    end = len(command)
    position = 0
    word_begins = True
    while position < len(command):
        char = command[position]
        if char == "\\" and quote != "'":
            if position + 1 == len(command):
                raise UsageError("nothing follows the backslash at the end of the command")
            position += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "#" and word_begins:
            end = position
            break
        word_begins = char in " ;&|"
        position += 1
    if quote:
        raise UsageError(
            f"a quote ({quote}) is not closed in: {command}",
            action="close it; U-Boot would wait for the rest",
        )
    kept = command[:end].strip()
    while kept.endswith(";") and not kept.endswith("\\;"):
        kept = kept[:-1].rstrip()
    return kept
