"""POSIX shells: busybox ash, dash, bash.

The command runs in the shell itself, so that ``cd`` and variables stay, with its output saved in a
private file. Then the file is printed between marks, with exit code, checksum and size behind it;
so it can be compared, and printed again without running the command again.

Sources: POSIX.1-2017, Shell Command Language 2.9.1 (``command`` takes from a special built-in, here
``eval``, that its errors end the line), 2.2.2 (single quotes); termios(3); bash(1) (HISTFILE).
"""

from __future__ import annotations

from labctl.boards.dialects.base import Dialect, Marks
from labctl.errors import UsageError

# A line of the kernel's tty has 4096 bytes with its newline (N_TTY_BUF_SIZE); line editors take
# less: 1024 in busybox as Debian builds it (CONFIG_FEATURE_EDITING_MAX_LEN). A longer command is
# put together from several lines.
_LINE = 900


class PosixShell(Dialect):
    """See the module."""

    name = "shell"
    line_limit = _LINE
    saves_output = True
    repeats_on_return = False

    def probe(self, tag: str) -> bytes:
        """Return the line that prepares the shell and proves it by a sum only a shell does."""
        return _prepare(tag)

    def frame(self, command: str, marks: Marks, *, live: bool) -> list[bytes]:
        """Return the lines that run ``command``; see `Dialect.frame`."""
        if "\0" in command:
            raise UsageError("a command cannot hold a NUL byte")
        pieces = _pieces(_quote(command), command)
        lines = [_encode(piece) for piece in pieces[:-1]]
        run = "_V" if live else "_L"
        lines.append(_encode(f'{pieces[-1]};_n={marks.tag};eval "${{{run}?}}"'))
        return lines

    def fetch(self, marks: Marks, offset: int, count: int | None) -> bytes:
        """Return the line that prints a part of the saved output again."""
        head = "" if count is None else f"|head -c {count}"
        # A shell that does not know our words must not let "tail" read its own input.
        part = f"tail -c +{offset + 1} ${{_f?}}{head}>|$_f.p;_p=$_f.p"
        return _encode(f'_n={marks.tag};{part};eval "${{_P?}}"')


def _prepare(tag: str) -> bytes:
    """Return the line that defines what frames need and answers with ``tag``.

    _n is the tag, _c the command, _f the file of its output, _p what is printed (it, or a part of
    it in $_f.p), _s the exit code, _q the tag of the command that ran last. The marks are put
    together by printf, so that no echo ever holds one.
    """
    cut = len(tag) // 2
    begin = r'printf "@B%s\n" $_n;'
    # Which command ran last, and its exit code twice: no checksum is over them.
    end = r'printf "\n@E%s %s %s %s %s\n" $_n $_s "$_q" "$(_k $_p)" $_s'
    # The exit code of the last command is restored before, as a person who types would have it.
    # Its input is empty: a command that reads would eat the next line. Where no checksum
    # can be had, only the exit code stands behind the answer.
    saved = (
        f'_q=$_n;{begin}{{ _r;command eval "$_c";}}>|$_f 2>&1 </dev/null;_s=$?;_p=$_f;cat $_p;{end}'
    )
    live = (
        f'{begin}{{ _r;command eval "$_c";}} 2>&1 </dev/null;_s=$?;'
        r'printf "\n@E%s %s %s\n" $_n $_s $_s'
    )
    parts = [
        # Without line wrap the echo is what was sent. A serial line has no rows either, and bash
        # takes a size only whole.
        "stty rows 50 cols 4096 2>/dev/null",
        # Our lines are not the user's history.
        "unset HISTFILE",
        "_s=0 _q=t",
        "_r(){ return $_s;}",
        # Not every busybox has cksum.
        "_k(){ cksum<$1 2>/dev/null||{ command -v md5sum>/dev/null&&"
        "echo $(md5sum<$1|head -c 32) $(wc -c<$1);};}",
        'for _f in /run /dev/shm /tmp "$HOME";do [ -w "$_f" ]&&break;done',
        "_f=$_f/.labctl.$$",
        # Nobody else reads what a command printed.
        "(umask 077;: >|$_f;: >|$_f.p)",
        f"_L='{saved}'",
        f"_V='{live}'",
        f"_P='{begin}cat $_p;{end}'",
        f'printf "\\n@P%s%s\\n" {tag[:cut]} {tag[cut:]}',
    ]
    return _encode(";".join(parts))


def _encode(line: str) -> bytes:
    # A blank before it keeps the line out of the history of shells that are told so.
    return b" " + line.encode("utf-8", "surrogateescape")


def _quote(command: str) -> str:
    """Return assignments that put ``command`` into _c; a newline must not end the line."""
    quoted = command.replace("'", "'\\''")
    return f"_c='{quoted}'"


def _pieces(assignment: str, command: str) -> list[str]:
    """Return one assignment, or several that add to each other where one line is too short.

    Control characters are written as octal escapes, since a line editor would act on them.
    """
    plain = all(char >= " " and char != "\x7f" for char in command)
    if plain and len(assignment.encode("utf-8", "surrogateescape")) < _LINE:
        return [assignment]
    escaped: list[str] = []
    for byte in command.encode("utf-8", "surrogateescape"):
        char = chr(byte)
        ordinary = 0x20 <= byte < 0x7F and char not in "'\\%"
        escaped.append(char if ordinary else f"\\{byte:03o}")
    lines, current = ["_c="], ""
    for unit in escaped:
        if len(current) + len(unit) > _LINE - 100:
            lines.append(_add(current))
            current = ""
        current += unit
    lines.append(_add(current))
    return [";".join(lines[:2]), *lines[2:]]


def _add(text: str) -> str:
    # $( ) takes newlines off the end, so a dot stands behind them until they are in the variable.
    return f"_c=$_c$(printf '{text}.')&&_c=${{_c%.}}"
