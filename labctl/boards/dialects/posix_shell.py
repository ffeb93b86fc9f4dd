"""POSIX shells: busybox ash, dash, bash.

The command runs in the shell itself, so that ``cd`` and variables stay, with its output saved in a
private file. Then the file is printed between marks, with exit code, checksum and size behind it;
so it can be compared, and printed again without running the command again.

Sources: POSIX.1-2017, Shell Command Language 2.9.1 (``command`` takes from a special built-in, here
``eval``, that its errors end the line), 2.2.2 (single quotes); termios(3); bash(1) (HISTFILE).
"""

from __future__ import annotations

import functools

from labctl.boards.cksum import cksum
from labctl.boards.dialects.base import Dialect, Marks
from labctl.errors import UsageError

# A line of the kernel's tty has 4096 bytes with its newline (N_TTY_BUF_SIZE); line editors take
# less: 1024 in busybox as Debian builds it (CONFIG_FEATURE_EDITING_MAX_LEN). A longer command is
# put together from several lines.
_LINE = 900
_SHORT = 80


class PosixShell(Dialect):
    """See the module."""

    name = "shell"
    line_limit = _LINE
    saves_output = True
    repeats_on_return = False

    def probe(self, tag: str) -> bytes:
        """Return a line with a sum, which only a shell does."""
        cut = len(tag) // 2
        return _encode(f'echo "@P""{tag[:cut]}""{tag[cut:]}"$((6*7))')

    def proof(self, tag: str) -> bytes:
        """Return the pattern of that answer."""
        return b"@P" + tag.encode() + b"42"

    def ready(self, tag: str) -> bytes:
        """Return the line that runs our script, if the shell has it undamaged."""
        cut = len(tag) // 2
        script = _script().encode()
        size = len(script)
        # A shell without cksum is content with the length.
        return _encode(
            f'case ${{#_Z}}.$(printf %s "$_Z"|cksum 2>/dev/null) in {size}.|'
            f'"{size}.{cksum(script)} {size}")eval "$_Z"&&'
            f'printf "\\n@P%s%s=%s\\n" {tag[:cut]} {tag[cut:]} "$_D";;*)'
            f'printf "\\n@P%s%s-\\n" {tag[:cut]} {tag[cut:]};;esac'
        )

    def teach(self) -> list[bytes]:
        """Return the lines that put our script into a variable.

        They are short, so that one that a bad line damaged is soon sent again.
        """
        script = _script()
        pieces = [script[at : at + _SHORT] for at in range(0, len(script), _SHORT)]
        return [
            # Without line wrap the echo is what was sent. A serial line has no rows either, and
            # bash takes a size only whole.
            _encode("stty rows 50 cols 4096 2>/dev/null"),
            *(
                _encode(f"_Z={'$_Z' if at else ''}{_quoted(piece)}")
                for at, piece in enumerate(pieces)
            ),
        ]

    def tidy(self, command_line: bytes, folder: str) -> bytes:
        """Return ``command_line`` behind the removal of what is saved in ``folder``."""
        return _encode(f"rm -f '{folder}'/*;") + command_line.lstrip()

    def revive(self) -> list[bytes]:
        """Return lines that make a terminal without echo, or in raw mode, usable again.

        They end with a newline, which all modes take for the end of a line. The first ends what
        was typed in vain; the shell may throw away what stands behind a line that it cannot read.
        """
        return [b"\n", b"stty sane\n"]

    def frame(self, command: str, marks: Marks, *, live: bool) -> list[bytes]:
        """Return the lines that run ``command``; see `Dialect.frame`."""
        if "\0" in command:
            raise UsageError("a command cannot hold a NUL byte")
        pieces = _pieces(_quote(command), command)
        lines = [_encode(piece) for piece in pieces[:-1]]
        run = "_V" if live else "_L"
        lines.append(_encode(f'{pieces[-1]};_N={marks.tag};$_G "${{{run}?-}}"'))
        return lines

    def fetch(self, marks: Marks, offset: int, count: int | None) -> bytes:
        """Return the line that prints a part of the saved output again."""
        if offset == 0 and count is None:
            return _encode(f'_N={marks.tag};_O=$_F;eval "${{_P?-}}"')
        head = "" if count is None else f"|head -c {count}"
        # A shell that does not know our words must not let "tail" read its own input. The blank
        # before ">" keeps a count from being read as the number of a file descriptor (POSIX, 2.7).
        part = f"tail -c +{offset + 1} ${{_F?-}}{head} >|$_D/part;_O=$_D/part"
        return _encode(f'_N={marks.tag};{part};eval "${{_P?-}}"')


@functools.cache
def _script() -> str:
    """Return the script that defines what frames need.

    Names are such as nobody's command uses. _N is the tag of what is asked, _C the command, _X what
    runs it, _D the folder of saved output, _F the file of the last command, _O what is printed (it,
    or a part of it), _S the exit code, _Q the tag of the command that ran last, with an "i" behind
    it until it has ended, _T the terminal, _I and _J what is done before and after a command, _U
    the shell's own number where the kernel tells it. _L, _V and _P are scripts: saved, live, print;
    _G runs the first two. The marks are put together by printf, so that no echo ever holds one.
    """
    begin = r'printf "@B%s\n" $_N'
    # Which command ran last (nothing where it is the one that was asked), checksum and size of what
    # was printed (_Y), and the exit code twice: no checksum is over that.
    end = r'printf "\n@E%s %s %s %s %s\n" $_N $_S "${_Q#$_N}" "$_Y" $_S'
    # Standard error is away so that "set -x" does not write into the answer.
    # Without output no program is started. A file that is not there, and one that nothing here can
    # sum up (see _K), are told apart from an empty one.
    show = (
        f'{{ {begin};if [ -s "$_O" ];then cat "$_O";_Y=$(_K "$_O");elif [ -e "$_O" ];then _Y="0 0";'
        f'else _Y="f 0";fi;{end};}} 2>/dev/null'
    )
    # The exit code of the last command is restored before, as a person who types would have it.
    # Its input is empty: a command that reads would eat the next line. Each has a file of its own:
    # a job in the background writes to that of the command that began it, and into no other answer.
    saved = (
        '_Q=${_N}i;_F=$_D/$_N;eval "$_I";{ _R;$_X "$_C";}>|$_F 2>&1 </dev/null;_S=$?;eval "$_J";'
        '_Q=$_N;_O=$_F;eval "$_P"'
    )
    live = (
        f'_Q=${{_N}}i;_F=;{{ {begin};}} 2>/dev/null;eval "$_I";{{ _R;$_X "$_C";}} 2>&1 </dev/null;'
        r'_S=$?;eval "$_J";_Q=$_N;{ printf "\n@E%s %s %s\n" $_N $_S $_S;} 2>/dev/null'
    )
    # A command that ends the shell itself has an exit code too. Standard output is still the file
    # then, so its answer is shown on the terminal by name.
    last_words = (
        r'_S=$?;case $_Q in *i)_Q=${_Q%i};_O=$_F;{ printf "@X%s\n" $_N;eval "$_P";}>$_T;;esac;'
    )
    return ";".join(
        [
            # Our lines are not the user's history.
            "unset HISTFILE",
            "_S=0 _Q=t _F=;_R(){ return $_S;};_T=$(tty)||_T=/dev/tty",
            # In dash and ash a "return" outside of a function ends the shell. bash says so and goes
            # on, and in a function its "declare" would be local.
            # In busybox an error in a subshell of it (a file that cannot be opened) does not end
            # the subshell: a copy of the shell goes on. Its number tells it, and it is ended here.
            '_E(){ shift;_R;command eval "$_C";_S=$?;[ "$_U" ]&&read -r _O _Y</proc/self/stat&&'
            "[ $_O != $_U ]&&exit $_S;return $_S;}",
            '{ read -r _U _O</proc/self/stat;} 2>/dev/null;[ "$_U" = $$ ]||_U=',
            '_X=_E _G=_g;[ "${BASH_VERSION-}" ]&&_X=eval _G=eval',
            # bash says on standard error, which is the answer, that a job of an earlier command has
            # ended, unless job control is off. What it was is asked once: an interrupt may leave it
            # off.
            '_I=;: ${_J=};case $_X.$- in e*m*)_I="set +m";_J="set -m";esac',
            '[ "$_J" ]&&_I="set +m"',
            # Not every busybox has cksum.
            '_M(){ command -v md5sum>/dev/null&&echo $(md5sum<"$1"|head -c 32) $(wc -c<"$1");}',
            '_K(){ cksum<"$1"||_M "$1"||echo e 0;}',
            # Nobody else reads what a command printed. A folder of that name that somebody else
            # made cannot be removed or made, and the next is tried.
            'for _D in /run /dev/shm /tmp "$HOME";do _D=$_D/.labctl.$$;rm -rf "$_D";'
            'mkdir -m 700 "$_D"&&break;_D=;done 2>/dev/null',
            f"_P='{show}'",
            f"_L='{saved}'",
            f"_V='{live}'",
            # That copy of busybox never comes out of an eval, only out of functions.
            '_g(){ $1;};[ $_G = eval ]||{ eval "_l(){ $_L;};_v(){ $_V;}";_L=_l _V=_v;}',
            # The folder's name is put in here and now: what is removed must not be in a variable
            # that a command may set.
            f"""trap '{last_words}'"rm -rf '$_D'" 0""",
        ]
    )


def _encode(line: str) -> bytes:
    # A blank before it keeps the line out of the history of shells that are told so.
    return b" " + line.encode("utf-8", "surrogateescape")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _quote(command: str) -> str:
    """Return assignments that put ``command`` into _C; a newline must not end the line."""
    return f"_C={_quoted(command)}"


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
    lines, current = ["_C="], ""
    for unit in escaped:
        if len(current) + len(unit) > _LINE - 100:
            lines.append(_add(current))
            current = ""
        current += unit
    lines.append(_add(current))
    return [";".join(lines[:2]), *lines[2:]]


def _add(text: str) -> str:
    # $( ) takes newlines off the end, so a dot stands behind them until they are in the variable.
    return f"_C=$_C$(printf '{text}.')&&_C=${{_C%.}}"
