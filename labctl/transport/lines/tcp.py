"""Lines over sockets: a raw TCP port of a console server, a UNIX socket of an emulator.

Plain non-blocking sockets. (pyserial's ``socket://`` says of any number of waiting bytes that one
waits; programs that read what waits get 4 kB/s through it.)
Sources: tcp(7), unix(7), RFC 1122 section 4.2.3.6 (keep-alive).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

from labctl.errors import UnreachableError
from labctl.report.sanitize import clean_line
from labctl.transport.lines.base import Line, LineGoneError

# A peer that lost its power sends nothing, as an idle board does. Asking after 10 s of silence,
# three times, tells them apart in 25 s; what was sent must be acknowledged in as much.
_KEEPALIVE_IDLE_S = 10
_KEEPALIVE_INTERVAL_S = 5
_KEEPALIVE_COUNT = 3
_UNACKNOWLEDGED_MS = 25_000

# A console server that turns us away says so in a line of text and hangs up (ser2net: "Port
# already in use"). More than this was the board's.
_REFUSAL_BYTES = 200
_REFUSAL_S = 2.0


class SocketLine(Line):
    """A line on a connected stream socket, which it takes over."""

    def __init__(self, url: str, connection: socket.socket) -> None:
        self.url = url
        self._socket = connection
        self._socket.setblocking(False)
        self._head = b""
        self._opened = time.monotonic()

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def read(self, limit: int) -> bytes:
        """Return what has arrived."""
        try:
            data = self._socket.recv(limit)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            raise self._gone(error.strerror or str(error)) from None
        if not data:
            raise self._gone("closed by the other side")
        if len(self._head) <= _REFUSAL_BYTES:
            self._head += data[: _REFUSAL_BYTES + 1]
        return data

    def write(self, data: bytes) -> int:
        """Hand some of ``data`` to the kernel."""
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise self._gone(error.strerror or str(error)) from None

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _first_words(self) -> bytes:
        """Return all that came so far if it was little."""
        return self._head if len(self._head) <= _REFUSAL_BYTES else b""

    def _gone(self, cause: str) -> LineGoneError:
        early = time.monotonic() - self._opened < _REFUSAL_S
        if early and (words := clean_line(self._first_words())):
            cause += f" at once, with the words: {words}"
        return LineGoneError(
            cause[0].lower() + cause[1:],
            thing=self.url,
            action="is the other end still running, and does nobody else hold it?",
        )


def open_tcp(url: str, host: str, port: int, *, deadline_s: float) -> SocketLine:
    """Connect to a raw TCP port.

    Raises:
        UnreachableError: No such host, nobody listens, or no answer within ``deadline_s`` seconds.
    """
    return SocketLine(url, connect_tcp(url, host, port, deadline_s=deadline_s))


def connect_tcp(url: str, host: str, port: int, *, deadline_s: float) -> socket.socket:
    """Return a connected TCP socket, tuned for keystrokes and for noticing a dead peer.

    Raises:
        UnreachableError: No such host, nobody listens, or no answer within ``deadline_s`` seconds.
    """
    end = time.monotonic() + deadline_s
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise UnreachableError(
            f"no such host: {clean_line(host)}", thing=url, action="correct the line's URL"
        ) from None
    cause = "no address"
    for family, kind, protocol, _, address in addresses:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(max(end - time.monotonic(), 0.01))
            connection.connect(address)
        except TimeoutError:
            cause = f"no answer within {deadline_s:g} s"
        except ConnectionRefusedError:
            cause = "nobody listens there"
        except OSError as error:
            cause = (error.strerror or str(error)).lower()
        else:
            _tune(connection)
            return connection
        connection.close()
    raise UnreachableError(cause, thing=url, action="is the console server (ser2net) running?")


def open_unix(url: str, path: Path, *, deadline_s: float) -> SocketLine:
    """Connect to a UNIX stream socket; its path may be longer than unix(7) allows.

    Raises:
        UnreachableError: It is not there, nobody listens, or it is not ours to use.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(deadline_s)
    folder = -1
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        connection.connect(f"/proc/self/fd/{folder}/{path.name}")
    except OSError as error:
        connection.close()
        causes = {
            FileNotFoundError: "there is no such socket",
            NotADirectoryError: "there is no such socket",
            ConnectionRefusedError: "nobody listens there",
            TimeoutError: f"no answer within {deadline_s:g} s",
            PermissionError: "no permission to use it",
        }
        cause = causes.get(type(error)) or (error.strerror or str(error)).lower()
        raise UnreachableError(cause, thing=url, action="is its program running?") from None
    finally:
        if folder >= 0:
            os.close(folder)
    return SocketLine(url, connection)


def _tune(connection: socket.socket) -> None:
    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_COUNT),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS),
    ):
        # Sandboxes (gVisor) lack some of them; a line without is better than none.
        with contextlib.suppress(OSError):
            connection.setsockopt(level, option, value)
