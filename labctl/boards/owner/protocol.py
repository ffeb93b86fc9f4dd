"""What the owner of a line and its clients say to each other on its UNIX socket.

A client sends requests, one JSON object a line, ``{"op": ..., "id": ...}``, and gets one answer
for each, ``{"id": ..., "ok": true, ...}`` or ``{"id": ..., "error": {...}}``. Between them come
events, ``{"event": ...}``. After ``{"op": "follow", "offset": N}`` and its answer the connection
carries nothing but the bytes of the line, from that offset on, for as long as both sides live.

| op | what it does |
|---|---|
| status | tells about the line, its lease and its record |
| configure | says how the line is to be set; opened again where that is new and nobody holds it |
| acquire | asks for the lease: what, host, ttl_s, idle_s, wait_s |
| release | gives it back |
| beat | says that the holder lives |
| write | hands over ``data`` (base64); answered when the line has taken all of it |
| break, baud, signals | what a serial line can besides |
| lend | closes the line, so that the program ``to`` can open the ``device`` that is answered; null
  where no program can open it (a TCP port), and then the line stays open |
| return | opens it again; answered when it is open, or after wait_s. A lost lease returns it too |
| note | journals something that was done to the board (power, reset) |
| force | takes the lease from whoever has it |
| follow | see above |
| stop | ends the owner |

| event | when |
|---|---|
| gone, back | the line went away (cause), is there again; with the offset |
| lent | the line was closed for a program (to, by), until ``back``; with the offset |
| lost | the lease went to somebody else (by, why) |
| unrecorded | bytes could not be written to the record (cause, bytes) |
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from labctl.errors import BusyError, LabctlError, UnreachableError, UsageError
from labctl.transport.lines.base import LineGoneError, UnsupportedError

# A message holds at most one write of `WRITE_BYTES`, in base64; more is not one of ours.
MESSAGE_BYTES = 1 << 20
WRITE_BYTES = 64 << 10

Message = dict[str, Any]


class LeaseLostError(BusyError):
    """Somebody else has the line now."""


# How an error travels; the most particular class first.
_KINDS: tuple[tuple[str, type[LabctlError]], ...] = (
    ("lost", LeaseLostError),
    ("busy", BusyError),
    ("gone", LineGoneError),
    ("unreachable", UnreachableError),
    ("unsupported", UnsupportedError),
    ("usage", UsageError),
    ("failed", LabctlError),
)


def encode(message: Message) -> bytes:
    """Return ``message`` as one line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def pack(data: bytes) -> str:
    """Return bytes as they travel in a message."""
    return base64.b64encode(data).decode()


def unpack(text: str) -> bytes:
    """Return what `pack` packed.

    Raises:
        ValueError: It is something else.
    """
    return base64.b64decode(text, validate=True)


def error_to_message(error: LabctlError) -> Message:
    """Return ``error`` as it travels."""
    kind = next(name for name, known in _KINDS if isinstance(error, known))
    return {"kind": kind, "cause": error.cause, "thing": error.thing, "action": error.action}


def error_from_message(message: Message) -> LabctlError:
    """Return the error that `error_to_message` packed."""
    known = dict(_KINDS)
    kind = known.get(str(message.get("kind")), LabctlError)
    return kind(
        str(message.get("cause", "unknown error")),
        thing=str(message.get("thing", "")),
        action=str(message.get("action", "")),
    )


class LineBuffer:
    """Cuts a stream into messages.

    Raises (from `feed`):
        ValueError: A line is too long, or no JSON object.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take bytes and yield the messages that they complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MESSAGE_BYTES:
            raise ValueError("the message is too long")
        for line in lines:
            message = json.loads(line)
            if not isinstance(message, dict):
                raise ValueError("not an object")  # noqa: TRY004 - bad data, no programmer's error
            yield message

    def take_rest(self) -> bytes:
        """Return what came behind the last whole message, and forget it."""
        rest, self._rest = self._rest, b""
        return rest
