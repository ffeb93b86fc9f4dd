"""What a board may do to the terminal of a person who looks at its console.

`sanitize.clean` is for text; a console is a terminal session, where colours and cursor movements
belong. This filter lets those through and holds back what a hostile or broken board could use
against the terminal or its owner: strings for the terminal itself (window title, clipboard, fonts,
device control), questions that make the terminal type an answer into the line, window operations,
and resets of its modes.

Sources: ECMA-48 (5th edition) sections 5.2 to 5.6 and 8.3 for the functions, xterm's ctlseqs
document for private modes and window operations (CSI t), VT100 for ENQ (answerback).
"""

from __future__ import annotations

import re

# CSI final bytes that only draw: cursor movement, erase, insert, delete, scroll, SGR, tabs,
# scroll region, save and restore. "h" and "l" set modes and are looked at one by one; "n", "c",
# "t", "x", "p", "q" and the rest ask, resize, or reprogram, and are dropped.
_DRAWING = set(b"@ABCDEFGHIJKLMPSTXZ`abdefgmrsu")
# Modes that programs on a console need: cursor keys, wrap, cursor visibility, alternate screen,
# insert mode. Mouse reports, bracketed paste and others would make the terminal type.
_MODES = {b"4", b"?1", b"?6", b"?7", b"?12", b"?25", b"?47", b"?1047", b"?1048", b"?1049"}
_ESCAPES = set(b"78DEHM")  # save, restore, index, next line, set tab, reverse index
_PLAIN = re.compile(rb"[^\x00-\x06\x0e-\x1a\x1b-\x1f\x7f]+")
_LONGEST = 256  # of a sequence that is let through


class TerminalFilter:
    """Filters a byte stream; sequences may be cut anywhere between two calls.

    Args:
        plain: Let no sequence through at all, only text, tabs, newlines, and backspace.
    """

    def __init__(self, *, plain: bool = False) -> None:
        self._plain = plain
        self._held = b""
        # Inside a string for the terminal (OSC, DCS, SOS, PM, APC): dropped up to BEL or ST.
        self._in_string = False

    def feed(self, data: bytes) -> bytes:
        """Return what of ``data`` may reach the terminal."""
        data = self._held + data
        self._held = b""
        out = bytearray()
        position = 0
        while position < len(data):
            if self._in_string:
                position = self._skip_string(data, position)
                continue
            match = _PLAIN.match(data, position)
            if match:
                out += match.group()
                position = match.end()
                continue
            if data[position] != 0x1B:
                position += 1  # NUL, ENQ, shifts of the character set, and the like
                continue
            length = self._sequence(data, position)
            if length == 0:
                self._held = data[position:]
                break
            sequence = data[position : position + length]
            if not self._plain and _harmless(sequence):
                out += sequence
            position += length
        return bytes(out)

    def _skip_string(self, data: bytes, position: int) -> int:
        for index in range(position, len(data)):
            byte = data[index]
            if byte in (0x07, 0x9C, 0x18, 0x1A):  # BEL, ST, and what cancels: CAN, SUB
                self._in_string = False
                return index + 1
            if byte == 0x1B:
                if index + 1 == len(data):
                    self._held = data[index:]
                    return len(data)
                self._in_string = False
                return index + 2 if data[index + 1 : index + 2] == b"\\" else index
        return len(data)

    def _sequence(self, data: bytes, position: int) -> int:
        """Return the length of the sequence at ``position``; 0 if its end has not come yet."""
        if position + 1 == len(data):
            return 0
        kind = data[position + 1]
        if kind in b"]PX^_":
            self._in_string = True
            return 2
        if kind == 0x5B:  # CSI
            for index in range(position + 2, min(len(data), position + _LONGEST)):
                if 0x40 <= data[index] <= 0x7E:
                    return index + 1 - position
                if not 0x20 <= data[index] <= 0x3F:
                    return index - position  # broken off by something else
            return _LONGEST if len(data) - position >= _LONGEST else 0
        if 0x20 <= kind <= 0x2F:  # character sets and the like: one more byte
            return 3 if position + 2 < len(data) else 0
        return 2


def _harmless(sequence: bytes) -> bool:
    if sequence[1] != 0x5B:
        return len(sequence) == 2 and sequence[1] in _ESCAPES
    parameters, final = sequence[2:-1], sequence[-1]
    if any(0x20 <= byte <= 0x2F for byte in parameters):
        return False  # with intermediate bytes: reset (CSI ! p), cursor style, reports
    if final in b"hl":
        head = b"?" if parameters.startswith(b"?") else b""
        numbers = parameters.removeprefix(b"?").split(b";")
        return all(head + number in _MODES for number in numbers)
    return final in _DRAWING and not parameters.startswith((b"?", b">", b"<", b"="))
