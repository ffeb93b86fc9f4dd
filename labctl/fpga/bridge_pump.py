"""Carries bytes between a bridged core and this machine's end of its line, until something ends."""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass

from labctl.fpga.bridge_ends import End

# How soon somebody who opens a terminal that nobody had open is noticed, in seconds.
_LOOK_S = 0.05
# How long a wait is at most: the kernel does not tell when the last one closes a terminal.
_TURN_S = 1.0
# How long the core is silent before it has answered, where the input has ended, in seconds.
_SILENCE_S = 1.0
# More than this waits in the simulation, which then stands still.
_ROOM = 65536


@dataclass
class Traffic:
    """What a bridge carried, and why it ended.

    Attributes:
        to_core: Bytes written to the core.
        from_core: Bytes that the core sent.
        ended: ``deadline``, ``input`` (standard input or output ended) or ``simulation``.
    """

    to_core: int = 0
    from_core: int = 0
    ended: str = ""


def pump(channel: socket.socket, end: End, seconds: float | None, traffic: Traffic) -> None:
    """Carry bytes both ways; counts them in ``traffic`` as it goes.

    Where the input ends, the answer is waited for, until the core has been silent for a second.

    Args:
        channel: The core's line, not blocking.
        end: This machine's end.
        seconds: How long; None for no limit.
        traffic: What is counted into.
    """
    last = time.monotonic() + (float("inf") if seconds is None else seconds)
    deadline = last
    to_core, from_core = b"", b""
    while True:
        now = time.monotonic()
        if now >= deadline:
            traffic.ended = traffic.ended or "deadline"
            return
        there = end.present()
        _wait(channel, end, min(deadline - now, _TURN_S if there else _LOOK_S), to_core, from_core)
        if there and not to_core:
            data = end.read() if _readable(end.descriptor) else b""
            if data is None:
                traffic.ended = "input"
            to_core = data or b""
        try:
            sent = _send(channel, to_core)
            data = _receive(channel) if len(from_core) < _ROOM else b""
            written = end.write(from_core + data) if from_core or data else 0
        except BrokenPipeError:
            traffic.ended = "input"
            return
        except _EndedError:
            traffic.ended = "simulation"
            return
        traffic.to_core += sent
        traffic.from_core += len(data)
        to_core, from_core = to_core[sent:], (from_core + data)[written:]
        if traffic.ended and (sent or data or deadline == last):
            deadline = min(time.monotonic() + _SILENCE_S, last)


class _EndedError(Exception):
    """The simulation has ended."""


def _wait(
    channel: socket.socket, end: End, seconds: float, to_core: bytes, from_core: bytes
) -> None:
    """Wait until there is something to do, or a while."""
    poll = select.poll()
    into = select.POLLIN if len(from_core) < _ROOM else 0
    poll.register(channel, into | (select.POLLOUT if to_core else 0))
    if end.present():
        into = select.POLLIN if not to_core else 0
        poll.register(end.descriptor, into | (select.POLLOUT if from_core else 0))
    poll.poll(seconds * 1000)


def _send(channel: socket.socket, data: bytes) -> int:
    try:
        return channel.send(data) if data else 0
    except BlockingIOError:
        return 0
    except OSError:
        raise _EndedError from None


def _receive(channel: socket.socket) -> bytes:
    try:
        data = channel.recv(_ROOM)
    except BlockingIOError:
        return b""
    except OSError:
        data = b""
    if not data:
        raise _EndedError
    return data


def _readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
