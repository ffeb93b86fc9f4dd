"""Conditions in FuseSoC's .core files: ``flag ? (text)``, ``!flag ? (text)``, nested.

Source: https://fusesoc.readthedocs.io/en/stable/ref/capi2.html, and the grammar in FuseSoC 2's
``capi2/exprs.py``: words, and conditions with any number of either in the brackets.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

# A word may hold what is no sign of the grammar; FuseSoC: [^()?!\s]+ with '!' allowed later on.
_TOKEN = re.compile(r"\s*(?:(?P<sign>[()?])|(?P<word>[^\s()?]+))")
_MAX_DEPTH = 50


def expand(text: str, flags: Collection[str]) -> str:
    """Return what is left of ``text`` where exactly ``flags`` are set; words with blanks between.

    Raises:
        ValueError: A bracket is missing, or something else that FuseSoC would refuse.
    """
    tokens = [found["sign"] or found["word"] for found in _TOKEN.finditer(text)]
    words, rest = _parts(tokens, 0, flags, 0)
    if rest != len(tokens):
        raise ValueError(f"a bracket too many in {text!r}")
    return " ".join(words)


def _parts(tokens: list[str], at: int, flags: Collection[str], depth: int) -> tuple[list[str], int]:
    if depth > _MAX_DEPTH:
        raise ValueError("conditions nested too deep")
    words: list[str] = []
    while at < len(tokens) and tokens[at] != ")":
        word = tokens[at]
        if word in ("(", "?"):
            raise ValueError(f"{word!r} where a word must be")
        if tokens[at + 1 : at + 2] != ["?"]:
            words.append(word)
            at += 1
            continue
        if tokens[at + 2 : at + 3] != ["("]:
            raise ValueError("no '(' after '?'")
        inner, end = _parts(tokens, at + 3, flags, depth + 1)
        if tokens[end : end + 1] != [")"]:
            raise ValueError("no ')' at the end of a condition")
        if (word.removeprefix("!") in flags) != word.startswith("!"):
            words += inner
        at = end + 1
    return words, at


def each(texts: object, flags: Collection[str]) -> Iterator[str]:
    """Yield what is left of each of ``texts``; a single text counts as a list of one."""
    for text in texts if isinstance(texts, list) else [texts]:
        if isinstance(text, str):
            found = expand(text, flags)
            if found:
                yield found
