"""Telnet's framing: commands between the bytes of a stream, told apart by the byte IAC.

The bytes between commands are found in bulk, so that decoding keeps up with a network.
Sources: RFC 854 (commands), RFC 855 (options and subnegotiation), RFC 856 (binary transmission).
"""

from __future__ import annotations

from dataclasses import dataclass

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240

_IAC = bytes([IAC])
_ESCAPED = bytes([IAC, IAC])

# A subnegotiation of COM-PORT-OPTION has a handful of bytes, or a signature text.
_MAX_SUBNEGOTIATION = 4096


@dataclass(frozen=True)
class Command:
    """What came between the bytes.

    Attributes:
        verb: WILL, WONT, DO, DONT, SB, or another command of RFC 854.
        option: The option, for those that have one; else -1.
        payload: What a subnegotiation says, without escapes.
    """

    verb: int
    option: int = -1
    payload: bytes = b""


def escape(data: bytes) -> bytes:
    """Return ``data`` with each IAC doubled, as it is sent in binary mode."""
    return data.replace(_IAC, _ESCAPED)


def negotiate(verb: int, option: int) -> bytes:
    """Return the bytes of WILL, WONT, DO or DONT ``option``."""
    return bytes([IAC, verb, option])


def subnegotiate(option: int, payload: bytes) -> bytes:
    """Return the bytes of a subnegotiation."""
    return bytes([IAC, SB, option]) + escape(payload) + bytes([IAC, SE])


class Decoder:
    """Takes a Telnet stream apart, in pieces of any size.

    A stream that breaks the rules (an endless subnegotiation) is taken as well as it can be:
    nothing raises, and memory stays bounded.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, raw: bytes) -> tuple[bytes, list[Command]]:
        """Return the data in ``raw``, and the commands that are complete now, in order."""
        if self._rest:
            raw = self._rest + raw
            self._rest = b""
        at = raw.find(_IAC)
        if at < 0:
            return raw, []
        data: list[bytes] = []
        commands: list[Command] = []
        start = 0
        while at >= 0:
            data.append(raw[start:at])
            end = self._command(raw, at, data, commands)
            if end < 0:
                self._rest = raw[at:]
                return b"".join(data), commands
            start = end
            at = raw.find(_IAC, start)
        data.append(raw[start:])
        return b"".join(data), commands

    def _command(self, raw: bytes, at: int, data: list[bytes], commands: list[Command]) -> int:
        """Take the command at ``at``; return where it ends, or -1 if it is not complete."""
        if len(raw) < at + 2:
            return -1
        verb = raw[at + 1]
        if verb == IAC:
            data.append(_IAC)
            return at + 2
        if verb in (WILL, WONT, DO, DONT):
            if len(raw) < at + 3:
                return -1
            commands.append(Command(verb, raw[at + 2]))
            return at + 3
        if verb != SB:
            commands.append(Command(verb))
            return at + 2
        end = _end_of_subnegotiation(raw, at + 2)
        if end < 0:
            return -1 if len(raw) - at <= _MAX_SUBNEGOTIATION else len(raw)
        content = raw[at + 2 : end].replace(_ESCAPED, _IAC)
        if content:
            commands.append(Command(SB, content[0], content[1:]))
        # RFC 855: IAC SE ends it. Where another command comes instead, SE was lost.
        return end + 2 if raw[end + 1] == SE else end


def _end_of_subnegotiation(raw: bytes, start: int) -> int:
    """Return where the first IAC is that is not doubled and has something behind it, or -1."""
    at = raw.find(_IAC, start)
    while 0 <= at < len(raw) - 1:
        if raw[at + 1] != IAC:
            return at
        at = raw.find(_IAC, at + 2)
    return -1
