r"""Kernel messages in the middle of other output: split them out.

The kernel's console writes whole lines, ``[   12.345678] text\r\n``, between any two bytes of
what a program prints. Taking such a line out restores what the program printed. A program may
print the same (dmesg does), so this is a hypothesis, which the checksum of a frame confirms.

Source: printk's console prefix, kernel/printk/printk.c (``print_time``: "[%5lu.%06lu]";
``print_caller``: "[%*c%u]" with CONFIG_PRINTK_CALLER).
"""

from __future__ import annotations

import re

NOISE = re.compile(rb"(?:<\d{1,3}>)?\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? [^\n]*\n")
# The beginning of such a line, cut off anywhere.
_BEGINNING = re.compile(
    rb"""(?:<\d{0,3}(?:>|$))?          # its level
    (?:$ | \[ (?: \ *\d*$            # seconds
      | \ *\d+\.\d{0,6}$            # microseconds
      | \ *\d+\.\d{6}\] (?: $ | \[\ *[TC]?\d*\]?$ | (?:\[\ *[TC]\d+\])?\ [^\n]*$ )))""",
    re.VERBOSE,
)
# The same, looked for anywhere in a line in one pass.
_OPEN = re.compile(rb"(?=[<\[])(?:" + _BEGINNING.pattern + rb")", re.VERBOSE)
# Nothing longer is taken for a message that has not ended.
_LONGEST = 2048


def split(data: bytes) -> tuple[bytes, list[bytes]]:
    """Return ``data`` without kernel messages, and these messages without their newlines."""
    lines = [match.group().rstrip(b"\r\n") for match in NOISE.finditer(data)]
    return NOISE.sub(b"", data), lines


def may_be_beginning(data: bytes) -> bool:
    """Tell whether ``data`` may be a kernel message whose end has not come yet."""
    return len(data) <= _LONGEST and _BEGINNING.match(data) is not None


class NoiseSplitter:
    """Splits a stream as it comes; the time it takes is linear in the bytes.

    Attributes:
        noise: The messages found so far, without their newlines.
    """

    def __init__(self) -> None:
        self.noise: list[bytes] = []
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return the bytes that are surely none of a message; the rest is held back."""
        data = self._held + data
        clean, found = split(data)
        self.noise += found
        # A message that is not complete begins in the last line.
        start = clean.rfind(b"\n") + 1
        start = max(start, len(clean) - _LONGEST)
        unfinished = _OPEN.search(clean, start)
        position = unfinished.start() if unfinished else len(clean)
        self._held = clean[position:]
        return clean[:position]

    def flush(self) -> bytes:
        """Return what is held back; nothing more will come."""
        held, self._held = self._held, b""
        return held
