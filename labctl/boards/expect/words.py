r"""The words of a script: patterns, and variables in what it types.

``${name}`` is a variable; ``$${name}`` is sent as ``${name}``. In a pattern ``$`` is the end of a
line that has come: in a stream the end of what has come so far is the end of nothing, and a
terminal ends its lines with ``\r\n``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

VARIABLE = r"[A-Za-z_][A-Za-z0-9_]{0,62}"
# Of a pattern: an escape, a class, or what is looked for. A "]" that stands first is itself.
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$", re.DOTALL)
_LINE_END = r"(?=\r*\n)"
_OUTPUT_END = r"(?=\r*\n|\Z)"
_PLACE = re.compile(r"\$(?P<literal>\$\{)|\$\{(?P<name>[^}]*)(?P<end>\}?)")


def compile_pattern(text: str, *, whole: bool = False) -> re.Pattern[bytes]:
    """Return ``text`` as it is searched for; ``^`` and ``$`` are the ends of lines.

    Args:
        text: The pattern as a person wrote it.
        whole: All of the text is there, and its last line need not end with a newline.

    Raises:
        re.error: It is not a regular expression.
    """
    end = _OUTPUT_END if whole else _LINE_END
    source = _TOKEN.sub(lambda match: end if match.group() == "$" else match.group(), text)
    return re.compile(source.encode(), re.MULTILINE)


def variables(text: str) -> Iterator[str]:
    """Yield the names of the variables in ``text``."""
    for match in _PLACE.finditer(text):
        if match["literal"] is None:
            yield match["name"]


def unknown_escape(text: str) -> str | None:
    """Return the first ``${...}`` of ``text`` that is no variable, or None."""
    for match in _PLACE.finditer(text):
        if match["literal"] is None and not (
            match["end"] and re.fullmatch(VARIABLE, match["name"])
        ):
            return match.group()
    return None


def fill(text: str, values: Mapping[str, bytes]) -> bytes:
    """Return ``text`` as it is sent, with the values of its variables.

    Raises:
        KeyError: A variable has no value; the name of it.
    """
    parts: list[bytes] = []
    at = 0
    for match in _PLACE.finditer(text):
        parts.append(text[at : match.start()].encode())
        parts.append(b"${" if match["literal"] else values[match["name"]])
        at = match.end()
    parts.append(text[at:].encode())
    return b"".join(parts)
