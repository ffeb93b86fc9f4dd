"""When a Host or Match block of an OpenSSH client configuration holds.

Source: ssh_config(5) (PATTERNS, Host, Match), match.c, misc.c (argv_split) and readconf.c
(match_cfg_line) of OpenSSH 9.2.
"""

from __future__ import annotations

import functools
import os
import re
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Seconds that a command of "Match exec" may take.
EXEC_TIMEOUT = 10.0
SSH_PORT = "22"

_CRITERION = re.compile(r"\s*(!?[A-Za-z-]+)(?:\s*=\s*|\s+|$)")
_ARGUMENT = re.compile(r'\s*(?:"([^"]*)"|(\S+))')


class MatchError(Exception):
    """A line cannot be understood; ssh itself would refuse it, too."""


@dataclass
class Facts:
    """What the criteria of a block are compared with.

    Attributes:
        names: The name looked up, then others that Host patterns may match.
        local_user: Login name on this machine.
        run_exec: Run commands of ``Match exec``.
        final: This is the second pass, in which ``Match final`` holds.
        wants_final: Set when a ``Match final`` was met, so that a second pass is needed.
    """

    names: tuple[str, ...]
    local_user: str
    run_exec: bool = True
    final: bool = False
    wants_final: bool = False

    def __post_init__(self) -> None:
        self.original = self.names[0]


def split_arguments(text: str) -> list[str]:
    """Split as OpenSSH does: quotes, a few backslash escapes, a comment ends the line.

    Raises:
        MatchError: A quote is not closed.
    """
    words: list[str] = []
    position = 0
    while position < len(text):
        if text[position] in " \t":
            position += 1
            continue
        if text[position] == "#":
            break
        word, position = _word(text, position)
        words.append(word)
    return words


def _word(text: str, position: int) -> tuple[str, int]:
    quote = ""
    taken: list[str] = []
    while position < len(text):
        char, following = text[position], text[position + 1 : position + 2]
        if char == "\\" and following and following in ("'\"\\" + ("" if quote else " ")):
            taken.append(following)
            position += 1
        elif not quote and char in " \t":
            break
        elif not quote and char in "\"'":
            quote = char
        elif quote and char == quote:
            quote = ""
        else:
            taken.append(char)
        position += 1
    if quote:
        raise MatchError("a quote is not closed")
    return "".join(taken), position


@functools.lru_cache(maxsize=4096)
def _pattern(pattern: str) -> re.Pattern[str]:
    # Only * and ? are special; runs of * are one, which keeps matching fast.
    parts = re.split(r"(\*+|\?)", pattern)
    code = {"?": ".", "*": ".*"}
    return re.compile("".join(code.get(part[:1], re.escape(part)) for part in parts), re.DOTALL)


def matches(text: str, pattern: str) -> bool:
    """Tell whether ``text`` matches an OpenSSH pattern (``*``, ``?``)."""
    return _pattern(pattern).fullmatch(text) is not None


def match_host(patterns: Sequence[str], names: Sequence[str]) -> bool:
    """Tell whether a Host line holds; one negated pattern that matches decides against it."""
    held = False
    for pattern in patterns:
        hit = any(matches(name, pattern.removeprefix("!")) for name in names)
        if hit and pattern.startswith("!"):
            return False
        held = held or hit
    return held


def _match_list(text: str, patterns: str) -> bool:
    return match_host([part for part in patterns.split(",") if part], [text])


def match_block(rest: str, facts: Facts, options: Mapping[str, str], *, held: bool = True) -> bool:
    """Tell whether a Match line holds.

    Args:
        rest: The criteria.
        facts: What to compare with; ``wants_final`` is set where the line asks for it.
        options: What is decided so far, keywords in lower case.
        held: False where the line cannot hold; it is read all the same, as ssh does.

    Raises:
        MatchError: The criteria cannot be understood.
    """
    position = seen = 0
    while rest[position:].strip() and not rest[position:].lstrip().startswith("#"):
        match = _CRITERION.match(rest, position)
        if not match:
            raise MatchError(f"this Match cannot be understood: {rest[:60]}")
        position, seen = match.end(), seen + 1
        name = match.group(1).lower()
        negated, name = name.startswith("!"), name.removeprefix("!")
        if name in ("all", "final", "canonical"):
            facts.wants_final = facts.wants_final or name == "final"
            result = facts.final or name == "all"
        else:
            argument = _ARGUMENT.match(rest, position)
            if not argument:
                raise MatchError(f"Match {name} needs an argument")
            position = argument.end()
            value = argument.group(1) if argument.group(1) is not None else argument.group(2)
            # A command is not run where the block is lost already.
            result = held and _criterion(name, value, facts, options)
        held = held and result is not negated
    if not seen:
        raise MatchError("Match needs a criterion")
    return held


def _criterion(name: str, value: str, facts: Facts, options: Mapping[str, str]) -> bool:
    original = facts.original
    host = options.get("hostname", facts.names[0]).replace("%h", facts.names[0])
    user = options.get("user", facts.local_user)
    if name == "host":
        return _match_list(host.lower(), value.lower())
    if name == "originalhost":
        return _match_list(original.lower(), value.lower())
    if name == "user":
        return _match_list(user, value)
    if name == "localuser":
        return _match_list(facts.local_user, value)
    if name == "exec":
        tokens = expansions(
            host=host,
            original=original,
            port=options.get("port", SSH_PORT),
            user=user,
            local_user=facts.local_user,
        )
        return facts.run_exec and _succeeds(expand(value, tokens))
    # Criteria of later versions (tagged, localnetwork, ...): a block we cannot judge stays out.
    return False


def _succeeds(command: str) -> bool:
    """Run ``command`` in the user's shell, as ssh does, with a deadline."""
    shell = os.environ.get("SHELL") or "/bin/sh"
    try:
        done = subprocess.run(
            [shell, "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=EXEC_TIMEOUT,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def expansions(
    *, host: str, original: str, port: str, user: str, local_user: str
) -> dict[str, str]:
    """Return the percent tokens of ssh_config(5), TOKENS, without the rare %C, %i, %j, %k."""
    full = socket.gethostname()
    return {
        "%": "%",
        "d": str(Path.home()),
        "h": host,
        "L": full.partition(".")[0],
        "l": full,
        "n": original,
        "p": port,
        "r": user,
        "u": local_user,
    }


def expand(text: str, tokens: Mapping[str, str]) -> str:
    """Replace percent tokens; unknown ones stay as they are."""
    return re.sub(r"%(.)", lambda match: tokens.get(match.group(1), match.group(0)), text)
