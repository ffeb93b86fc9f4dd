"""Slurm's lists of hosts and files: ``gpu[1-3,07],login`` (scontrol(1), "show hostnames")."""

from __future__ import annotations

import re
from collections.abc import Iterator

# More than any cluster has; a list that means to fill the memory ends here.
MOST = 100_000
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


def expand(text: str) -> list[str]:
    """Return the names that ``text`` stands for, in its order, at most `MOST`.

    Raises:
        ValueError: It is no such list.
    """
    found: list[str] = []
    for part in _parts(text):
        for name in _one(part, MOST - len(found)):
            found.append(name)
            if len(found) >= MOST:
                return found
    return found


def _parts(text: str) -> list[str]:
    """Split at the commas that stand in no brackets."""
    parts, depth, last = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if depth not in (0, 1):
            raise ValueError(f"brackets that do not match: {text[:80]}")
        if letter == "," and depth == 0:
            parts.append(text[last:at])
            last = at + 1
    if depth:
        raise ValueError(f"brackets that do not match: {text[:80]}")
    return [part for part in (*parts, text[last:]) if part]


def _one(part: str, most: int) -> Iterator[str]:
    match = _BRACKETS.search(part)
    if match is None:
        yield part
        return
    head, rest = part[: match.start()], part[match.end() :]
    count = 0
    for number in _numbers(match.group(1)):
        for tail in _one(rest, most) if rest else [""]:
            if count >= most:
                return
            yield f"{head}{number}{tail}"
            count += 1


def _numbers(text: str) -> Iterator[str]:
    for piece in text.split(","):
        first, dash, last = piece.partition("-")
        if not first.isascii() or not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"no range of numbers: {piece[:80]}")
        for number in range(int(first), int(last or first) + 1):
            yield str(number).zfill(len(first))
