"""The board's machine protocol: the part of QEMU's that power control uses, and ``x-`` commands.

Source: QEMU Machine Protocol specification (docs/interop/qmp-spec.rst of QEMU); names of commands
that are not QEMU's begin with ``x-``. As with QEMU, several clients may be connected.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from labctl.errors import LabctlError
from labctl.vlab.scripted.board import Board
from labctl.vlab.scripted.loop import Loop

_GREETING = {
    "QMP": {
        "version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": "labctl scripted"},
        "capabilities": [],
    }
}
# Longer than any request; a client that sends more is no client of ours.
_LONGEST = 65536


class _RefusedError(Exception):
    """A request that gets an error; the class is one of QEMU's."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Monitor:
    """Serves the socket.

    Args:
        path: The socket.
        name: Name of the board.
        loop: Told of the connections.
        board: What is controlled.
    """

    def __init__(self, path: Path, name: str, loop: Loop, board: Board) -> None:
        self._name = name
        self._loop = loop
        self._board = board
        self._path = path
        self._clients: dict[int, _Client] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # The socket gets its name when it listens already: nobody finds one that refuses.
        aside = path.with_name(f".{path.name}.new")
        aside.unlink(missing_ok=True)
        # The folder by its descriptor, for paths longer than the 108 bytes of unix(7).
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._socket.bind(f"/proc/self/fd/{folder}/{aside.name}")
        finally:
            os.close(folder)
        aside.chmod(0o600)
        self._socket.listen()
        aside.replace(path)
        self._socket.setblocking(False)
        loop.watch(self._socket.fileno(), self._accept)

    def event(self, name: str) -> None:
        """Tell every client that ``name`` happened."""
        seconds, micros = divmod(time.time_ns() // 1000, 1_000_000)
        stamp = {"seconds": seconds, "microseconds": micros}
        for client in list(self._clients.values()):
            if client.ready:
                client.send({"timestamp": stamp, "event": name})

    def close(self) -> None:
        """Hang up and remove the socket."""
        for client in list(self._clients.values()):
            client.close()
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = self._socket.accept()
                client = _Client(connection, self._loop, self._answer, self._clients)
                client.send(_GREETING)

    def _answer(self, client: _Client, request: Mapping[str, object]) -> object:
        command, arguments = request.get("execute"), request.get("arguments", {})
        if not isinstance(command, str) or not isinstance(arguments, dict):
            raise _RefusedError("GenericError", "QMP input lacks member 'execute'")
        if command == "qmp_capabilities":
            client.ready = True
            return {}
        if not client.ready:
            raise _RefusedError(
                "CommandNotFound",
                "Expecting capabilities negotiation with 'qmp_capabilities'",
            )
        method = self._commands().get(command)
        if method is None:
            raise _RefusedError("CommandNotFound", f"The command {command} has not been found")
        try:
            return method(arguments)
        except LabctlError as error:
            raise _RefusedError("GenericError", str(error)) from error

    def _commands(self) -> dict[str, Callable[[dict[str, object]], object]]:
        board = self._board
        return {
            "cont": _doing(board.power_on),
            "query-name": lambda _: {"name": self._name},
            "query-status": lambda _: self._status(),
            "query-version": lambda _: _GREETING["QMP"]["version"],
            "quit": _doing(self._loop.stop),
            "stop": _doing(board.power_off),
            "system_reset": _doing(board.reset),
            "x-clear": _doing(board.clear),
            "x-fault": self._fault,
            "x-faults": lambda _: board.faults(),
            "x-stats": lambda _: board.stats(),
        }

    def _fault(self, arguments: dict[str, object]) -> object:
        self._board.fault(arguments)
        return {}

    def _status(self) -> dict[str, object]:
        # QEMU says "prelaunch" after -S until the first cont.
        off = "paused" if self._board.boots else "prelaunch"
        running = self._board.powered
        return {"status": "running" if running else off, "running": running, "singlestep": False}


def _doing(call: Callable[[], None]) -> Callable[[dict[str, object]], object]:
    """Return a command that does ``call`` and answers that it is done."""

    def command(_: dict[str, object]) -> object:
        call()
        return {}

    return command


class _Client:
    """One connection: a request a line, an answer a line."""

    def __init__(
        self,
        connection: socket.socket,
        loop: Loop,
        answer: Callable[[_Client, Mapping[str, object]], object],
        everyone: dict[int, _Client],
    ) -> None:
        connection.setblocking(False)
        self.ready = False
        self._connection = connection
        self._number = connection.fileno()
        self._loop = loop
        self._answer = answer
        self._everyone = everyone
        self._received = bytearray()
        everyone[self._number] = self
        loop.watch(self._number, self._readable)

    def send(self, message: Mapping[str, object]) -> None:
        """Send ``message``; a client that does not read is dropped."""
        data = json.dumps(message).encode() + b"\r\n"
        try:
            whole = self._connection.send(data) == len(data)
        except OSError:
            whole = False
        if not whole:
            self.close()

    def close(self) -> None:
        """Hang up; calling it twice is fine."""
        if self._everyone.pop(self._number, None):
            self._loop.unwatch(self._number)
            self._connection.close()

    def _readable(self) -> None:
        try:
            while piece := self._connection.recv(_LONGEST):
                self._received += piece
                self._requests()
        except BlockingIOError:
            return
        except OSError:
            pass  # gone, or closed by us in mid request
        self.close()

    def _requests(self) -> None:
        while b"\n" in self._received:
            line, _, rest = bytes(self._received).partition(b"\n")
            self._received = bytearray(rest)
            if line.strip():
                self._request(line)
        if len(self._received) > _LONGEST:
            self.close()

    def _request(self, line: bytes) -> None:
        request: object = None
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise _RefusedError("GenericError", "QMP input must be a JSON object")
            reply: dict[str, object] = {"return": self._answer(self, request)}
        except _RefusedError as error:
            reply = {"error": {"class": error.kind, "desc": str(error)}}
        except ValueError:
            reply = {"error": {"class": "GenericError", "desc": "JSON parse error"}}
        if isinstance(request, dict) and "id" in request:
            reply["id"] = request["id"]
        self.send(reply)
