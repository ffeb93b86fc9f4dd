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
        """Return a line whose answer only a shell that joins quoted words gives."""
        cut = len(tag) // 2
        return f'echo "@P""{tag[:cut]}""{tag[cut:]}"'.encode()

    def frame(self, command: str, marks: Marks, *, live: bool) -> list[bytes]:
        """Return the line that runs ``command``; see `Dialect.frame`."""
        bad = sorted({char for char in command if char < " " or char > "~"})
        if bad:
            raise UsageError(
                f"U-Boot takes printable ASCII only, not {', '.join(map(repr, bad))}",
                action="write several commands, joined by ';'",
            )
        line = f'echo "@B""{marks.tag}";{command};echo "@E""{marks.tag} $? $?"'
        if len(line) >= self.line_limit:
            raise UsageError(
                f"the command has {len(command)} characters; with its marks U-Boot takes "
                f"{self.line_limit - 1 - len(line) + len(command)} (CONFIG_SYS_CBSIZE)",
                action="split it, or put it into variables with setenv",
            )
        return [line.encode()]
