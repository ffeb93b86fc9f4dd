"""The board's machine protocol: the part of QEMU's that power control uses, and ``x-`` commands.

Source: QEMU Machine Protocol specification (docs/interop/qmp-spec.rst of QEMU); names of commands
that are not QEMU's begin with ``x-``. As with QEMU, several clients may be connected.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labctl.errors import LabctlError
from labctl.vlab.rom.loop import Loop

Commands = Mapping[str, Callable[[Mapping[str, Any]], object]]

_GREETING = {
    "QMP": {
        "version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": "labctl rom"},
        "capabilities": [],
    }
}
# Longer than any request; a client that sends more is no client of ours.
_LONGEST = 65536


class Monitor:
    """Serves the socket.

    Args:
        path: The socket, open to its owner only.
        loop: Told of the connections.
        commands: What can be asked, by name; each gets the arguments.
    """

    def __init__(self, path: Path, loop: Loop, commands: Commands) -> None:
        self._path = path
        self._loop = loop
        self._commands = commands
        self._clients: dict[int, tuple[socket.socket, bytearray]] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # It gets its name when it listens already: nobody finds one that refuses.
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
        self._socket.setblocking(False)
        loop.watch(self._socket.fileno(), self._accept)
        aside.replace(path)

    def event(self, name: str) -> None:
        """Tell every client that ``name`` happened."""
        seconds, micros = divmod(time.time_ns() // 1000, 1_000_000)
        stamp = {"seconds": seconds, "microseconds": micros}
        for number in list(self._clients):
            self._send(number, {"timestamp": stamp, "event": name})

    def close(self) -> None:
        """Hang up and remove the socket."""
        for number in list(self._clients):
            self._drop(number)
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            client, _ = self._socket.accept()
        except OSError:
            return
        client.setblocking(False)
        number = client.fileno()
        self._clients[number] = (client, bytearray())
        self._loop.watch(number, lambda: self._readable(number))
        self._send(number, _GREETING)

    def _readable(self, number: int) -> None:
        client, received = self._clients[number]
        try:
            piece = client.recv(_LONGEST)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        received += piece
        while number in self._clients and b"\n" in received:
            line, _, rest = bytes(received).partition(b"\n")
            received[:] = rest
            if line.strip():
                self._send(number, self._answer(line))
        if not piece or len(received) > _LONGEST:
            self._drop(number)

    def _answer(self, line: bytes) -> dict[str, object]:
        try:
            request = json.loads(line)
            name, arguments = request["execute"], request.get("arguments", {})
        except (ValueError, TypeError, KeyError):
            return _error("GenericError", "not a request of QMP")
        command = self._commands.get(name)
        if name != "qmp_capabilities" and command is None:
            return _error("CommandNotFound", f"The command {name} has not been found")
        try:
            answer = command(arguments) if command else {}
        except LabctlError as error:
            return _error("GenericError", str(error))
        reply: dict[str, object] = {"return": {} if answer is None else answer}
        return {**reply, "id": request["id"]} if "id" in request else reply

    def _send(self, number: int, message: Mapping[str, object]) -> None:
        """Send; a client that does not read is dropped."""
        if number not in self._clients:
            return
        data = json.dumps(message).encode() + b"\r\n"
        try:
            whole = self._clients[number][0].send(data) == len(data)
        except OSError:
            whole = False
        if not whole:
            self._drop(number)

    def _drop(self, number: int) -> None:
        if number in self._clients:
            client, _ = self._clients.pop(number)
            self._loop.unwatch(number)
            client.close()


def _error(kind: str, text: str) -> dict[str, object]:
    return {"error": {"class": kind, "desc": text}}
