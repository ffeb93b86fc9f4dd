"""Make text from another machine safe to print.

A host, a board or a package script may send terminal escapes that move the cursor, change the
window title, or make the terminal type. Nothing remote reaches a terminal without passing here.
Source: ECMA-48 (5th edition) for the control codes, Unicode TR #36 for bidirectional overrides.
"""

from __future__ import annotations

import re

# Complete escape sequences go as a whole, so that "\x1b[31mred\x1b[0m" reads "red".
_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI ... final byte
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # OSC, DCS, SOS, PM, APC up to BEL or ST
    r"|\x1b[ -/]*[0-~]",  # two-byte and charset escapes
    re.DOTALL,
)
# What is left of C0, C1, DEL, and the characters that reorder or hide text.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)


def clean(text: str | bytes) -> str:
    r"""Return ``text`` without escape sequences; other control characters become ``\xNN``.

    Newlines and tabs stay. A carriage return before a newline is dropped; elsewhere it starts a
    new line, as a progress meter means it to.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="backslashreplace")
    text = _SEQUENCE.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub(_spell_out, text)


def clean_line(text: str | bytes, *, limit: int = 500) -> str:
    """Return ``text`` cleaned, as one line of at most ``limit`` characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _spell_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
