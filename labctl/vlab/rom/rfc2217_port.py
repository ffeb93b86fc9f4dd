"""The host's end of a line as an RFC 2217 server: with a rate, parity, DTR and RTS.

One client at a time, as a port has one user. Sources: RFC 2217 (COM-PORT-OPTION), RFC 854, 855.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from labctl.transport.lines.telnet import (
    DO,
    DONT,
    SB,
    WILL,
    WONT,
    Command,
    Decoder,
    escape,
    negotiate,
    subnegotiate,
)
from labctl.vlab.rom.loop import Loop
from labctl.vlab.rom.uart import Format

_OPTIONS = frozenset({0, 3, 44})  # binary, suppress go ahead, COM-PORT-OPTION
_COM_PORT = 44
_SIGNATURE, _BAUD, _PARITY, _CONTROL = 0, 1, 3, 5
_FROM_SERVER = 100
_PARITIES = {1: "none", 2: "odd", 3: "even"}
# Values of SET-CONTROL: what asks for a state, and what sets one.
_DTR = {8: True, 9: False}
_RTS = {11: True, 12: False}
_ASKS = {0: 1, 4: 6, 7: 9, 10: 12, 13: 14}
_READ_BYTES = 65536
_BUSY = b"Port already in use\r\n"  # ser2net's words

Signals = Callable[[bool | None, bool | None], None]


class Rfc2217Port:
    """The server.

    Args:
        loop: Told of its descriptors.
        signals: Gets what DTR and RTS were set to; None is left as it is.

    Attributes:
        number: TCP port on 127.0.0.1.
    """

    def __init__(self, loop: Loop, signals: Signals) -> None:
        self._loop = loop
        self._signals = signals
        self._server: socket.socket | None = None
        self._client: socket.socket | None = None
        self._decoder = Decoder()
        self._data = bytearray()
        self._unsent = bytearray()
        self._format = Format(9600, "none")
        self.number = 0
        self.plug(True)

    @property
    def url(self) -> str:
        """What opens it."""
        return f"rfc2217://127.0.0.1:{self.number}"

    def plug(self, plugged: bool) -> None:
        """Listen, or hang up and stop listening."""
        if plugged == (self._server is not None):
            return
        if not plugged:
            assert self._server is not None
            self._hang_up()
            self._loop.unwatch(self._server.fileno())
            self._server.close()
            self._server = None
            return
        server = socket.socket()
        # The same number after it was plugged in again, whatever connections linger.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", self.number))
        server.listen()
        server.setblocking(False)
        self.number = server.getsockname()[1]
        self._loop.watch(server.fileno(), self._accept)
        self._server = server

    def _accept(self) -> None:
        assert self._server is not None
        with contextlib.suppress(OSError):
            client, _ = self._server.accept()
            if self._client is not None:
                client.send(_BUSY)
                client.close()
                return
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._client = client
            self._decoder = Decoder()
            self._loop.watch(client.fileno(), self._readable)

    def _hang_up(self) -> None:
        if self._client is not None:
            self._loop.unwatch(self._client.fileno())
            self._client.close()
            self._client = None
        self._data.clear()
        self._unsent.clear()

    def _readable(self) -> None:
        assert self._client is not None
        try:
            raw = self._client.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            raw = b""
        if not raw:
            self._hang_up()
            return
        data, commands = self._decoder.feed(raw)
        self._data += data
        for command in commands:
            self._obey(command)

    def _obey(self, command: Command) -> None:
        verb, option = command.verb, command.option
        if verb == SB and option == _COM_PORT and command.payload:
            self._set(command.payload[0], command.payload[1:])
        elif verb in (DO, WILL):
            yes, no = (WILL, WONT) if verb == DO else (DO, DONT)
            self._send(negotiate(yes if option in _OPTIONS else no, option))

    def _set(self, code: int, value: bytes) -> None:
        if code == _BAUD:
            rate = int.from_bytes(value, "big")
            # 0 asks for the rate in force.
            self._format = Format(rate or self._format.baud, self._format.parity)
            value = self._format.baud.to_bytes(4, "big")
        elif code == _PARITY and value:
            parity = _PARITIES.get(value[0], self._format.parity)
            self._format = Format(self._format.baud, parity)
            value = bytes(one for one, name in _PARITIES.items() if name == parity)
        elif code == _CONTROL and value:
            if value[0] in _DTR or value[0] in _RTS:
                self._signals(_DTR.get(value[0]), _RTS.get(value[0]))
            value = bytes([_ASKS.get(value[0], value[0])])
        elif code == _SIGNATURE:
            value = b"labctl simulated adapter"
        self._send(subnegotiate(_COM_PORT, bytes([code + _FROM_SERVER]) + value))

    def _send(self, raw: bytes) -> bool:
        """Send behind what waits; return whether nothing waits any more."""
        self._unsent += raw
        with contextlib.suppress(OSError):
            if self._client is not None:
                del self._unsent[: self._client.send(self._unsent)]
        return not self._unsent

    def read(self) -> bytes:
        """Return what the host has sent."""
        data = bytes(self._data)
        self._data.clear()
        return data

    def write(self, data: bytes) -> int:
        """Hand bytes to the host; return how many it had room for."""
        if self._client is None:
            return len(data)
        if not self._send(b""):
            return 0
        self._send(escape(data))
        return len(data)

    def format(self) -> Format:
        """Return how the host has set its end."""
        return self._format
