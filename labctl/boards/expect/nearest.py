"""What came that is most like what was waited for: why an expectation failed, in one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from labctl.boards.expect.words import compile_pattern
from labctl.report.sanitize import clean_line

_ALIKE = 0.6
# Characters that mean something else in a pattern; what is left of it is compared with lines.
_SPECIAL = re.compile(r"\(\?P<\w+>|\\[A-Za-z]|[\\^$.|?*+()\[\]{}]")
_SHORTEST = 4
_LINES = 200


def nearest_miss(patterns: Sequence[str], text: bytes, at: int = 0) -> str | None:
    """Return what comes nearest to one of ``patterns``, or None where nothing is like it.

    Args:
        patterns: What was waited for, as it was written.
        text: What came.
        at: Where in it the waiting began; what is before was passed over.
    """
    for source in patterns:
        if source.startswith("^") and (found := _search(source[1:], text, at)):
            return f"it came, but not at the beginning of a line: {_line_of(text, found)}"
        if found := _search(source, text, at, re.IGNORECASE):
            return f"it came with other capitals: {_line_of(text, found)}"
        if source.endswith("$") and (found := _search(source[:-1], text, at)):
            return f"it came, but no line ended there ('$'): {_line_of(text, found)}"
    for source in patterns:
        if found := _search(source, text[:at], 0):
            return f"it came before this step began to wait: {_line_of(text, found)}"
    return _alike(patterns, text[at:])


def _search(source: str, text: bytes, at: int, flags: int = 0) -> re.Match[bytes] | None:
    try:
        pattern = compile_pattern(source)
        return re.compile(pattern.pattern, pattern.flags | flags).search(text, at)
    except re.error:
        return None  # half of an escape


def _line_of(text: bytes, match: re.Match[bytes]) -> str:
    begin = text.rfind(b"\n", 0, match.start()) + 1
    end = text.find(b"\n", match.end())
    return clean_line(text[begin : end if end >= 0 else len(text)], limit=120)


def _alike(patterns: Sequence[str], seen: bytes) -> str | None:
    lines = [line for one in seen.splitlines()[-_LINES:] if (line := clean_line(one, limit=200))]
    best, best_ratio = None, _ALIKE
    for pattern in patterns:
        words = _SPECIAL.sub("", pattern).strip()
        if len(words) < _SHORTEST:
            continue
        for line in lines:
            ratio = _likeness(words, line)
            if ratio > best_ratio:
                best, best_ratio = line, ratio
    return f"the nearest line is: {best}" if best is not None else None


def _likeness(words: str, line: str) -> float:
    """Return how much of ``words`` is in ``line``, 0 to 1: a pattern is a part of a line."""
    matcher = difflib.SequenceMatcher(None, words.lower(), line.lower(), autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks() if block.size > 2) / len(words)
