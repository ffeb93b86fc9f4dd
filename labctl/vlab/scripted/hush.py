"""The grammar of U-Boot's shell: words, quotes, variables, ``;`` ``&&`` ``||`` and comments.

Written after what U-Boot 2023.01 does with CONFIG_HUSH_PARSER (doc/usage/cmdline.rst of U-Boot,
and its answers on QEMU). ``if``, ``for`` and ``while`` are not there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


class UnfinishedError(Exception):
    """A quote is still open; the shell asks for more with ``> ``."""


@dataclass
class Word:
    """A word before expansion: pieces of text, and variables by name.

    Attributes:
        pieces: Kind (``text``, ``bare`` for a variable outside quotes, ``quoted`` for one inside)
            and the text or the variable's name.
    """

    pieces: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Command:
    """A simple command and what stands between it and the one before: ``;``, ``&&`` or ``||``."""

    joint: str
    words: list[Word]


_NAME = re.compile(r"\$(?:\{([^}]*)\}|(\?|[A-Za-z_0-9]+))")
_BREAKS = (";", "&&", "||", "\n")


def parse(text: str) -> list[Command]:
    """Return the commands of ``text``; empty commands are left out.

    Raises:
        UnfinishedError: A quote is not closed.
    """
    commands: list[Command] = []
    joint, words = ";", list[Word]()
    for part in _tokens(text):
        if isinstance(part, Word):
            words.append(part)
            continue
        if words:
            commands.append(Command(joint, words))
        joint, words = (";" if part == "\n" else part), []
    if words:
        commands.append(Command(joint, words))
    return commands


def expand(words: list[Word], value: Callable[[str], str]) -> list[str]:
    """Return the arguments that ``words`` stand for; ``value`` knows the variables.

    A variable outside quotes is cut at blanks, inside quotes it stays whole.
    """
    arguments: list[str] = []
    for word in words:
        text = ""
        there = False
        for kind, content in word.pieces:
            if kind == "text":
                text, there = text + content, True
                continue
            known = value(content)
            if kind == "quoted":
                text, there = text + known, True
                continue
            parts = known.split()
            if known[:1].isspace() and there:
                arguments.append(text)
                text, there = "", False
            for part in parts[:-1]:
                arguments.append(text + part)
                text = ""
            if parts:
                text, there = text + parts[-1], True
            if parts and known[-1:].isspace():
                arguments.append(text)
                text, there = "", False
        if there:
            arguments.append(text)
    return arguments


def _tokens(text: str) -> Iterator[Word | str]:
    at, word = 0, Word()
    while at < len(text):
        here = text[at]
        joint = next((one for one in _BREAKS if text.startswith(one, at)), "")
        if joint or here in " \t":
            if word.pieces:
                yield word
                word = Word()
            if joint:
                yield joint
            at += len(joint) or 1
        elif here == "#" and not word.pieces:
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        else:
            at = _piece(text, at, word)
    if word.pieces:
        yield word


def _piece(text: str, at: int, word: Word) -> int:
    """Add the piece of a word that begins at ``at``; return where the next one begins."""
    here = text[at]
    if here == "'":
        end = text.find("'", at + 1)
        if end < 0:
            raise UnfinishedError
        word.pieces.append(("text", text[at + 1 : end]))
        return end + 1
    if here == '"':
        return _double_quoted(text, at + 1, word)
    if here == "\\":
        word.pieces.append(("text", text[at + 1 : at + 2]))
        return at + 2
    if here == "$" and (found := _NAME.match(text, at)):
        word.pieces.append(("bare", found[1] or found[2]))
        return found.end()
    word.pieces.append(("text", here))
    return at + 1


def _double_quoted(text: str, at: int, word: Word) -> int:
    word.pieces.append(("text", ""))  # "" is a word too
    while at < len(text):
        here = text[at]
        if here == '"':
            return at + 1
        if here == "\\" and text[at + 1 : at + 2] in ('"', "\\", "$"):
            word.pieces.append(("text", text[at + 1]))
            at += 2
        elif here == "$" and (found := _NAME.match(text, at)):
            word.pieces.append(("quoted", found[1] or found[2]))
            at = found.end()
        else:
            word.pieces.append(("text", here))
            at += 1
    raise UnfinishedError
