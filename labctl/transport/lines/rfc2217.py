"""A client of RFC 2217: a serial port behind TCP, with its rate, break and modem control outputs.

Our own, because pyserial's negotiates the whole port again whenever a time-out is assigned, and
takes the stream apart byte by byte (0.3 MB/s).
Sources: RFC 2217 (COM-PORT-OPTION), RFC 854, 855, 856 (binary), 858 (suppress go ahead).
"""

from __future__ import annotations

import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping

from labctl.errors import LabctlError
from labctl.report.sanitize import clean_line
from labctl.transport.lines.base import LineBusyError, LineGoneError, UnsupportedError
from labctl.transport.lines.settings import LineSettings, Parity, check_baud, check_parity
from labctl.transport.lines.tcp import SocketLine, connect_tcp
from labctl.transport.lines.telnet import (
    DO,
    DONT,
    IAC,
    SB,
    WILL,
    WONT,
    Command,
    Decoder,
    escape,
    negotiate,
    subnegotiate,
)

BINARY, SUPPRESS_GO_AHEAD, COM_PORT = 0, 3, 44
_NAMES = {BINARY: "binary transmission", COM_PORT: "COM-PORT-OPTION"}

# RFC 2217, section 3. A server answers code n with code n + 100.
_SIGNATURE, _SET_BAUDRATE, _SET_DATASIZE, _SET_PARITY, _SET_STOPSIZE, _SET_CONTROL = range(6)
_SET_LINESTATE_MASK, _SET_MODEMSTATE_MASK, _PURGE_DATA = 10, 11, 12
_FROM_SERVER = 100
_NOTIFY_LINESTATE, _SUSPEND, _RESUME = 106, 108, 109
_PARITIES = {"none": 1, "odd": 2, "even": 3}
_STOPS = {1: 1, 2: 2, 1.5: 3}
_FLOWS = {"none": 1, "xonxoff": 2, "rtscts": 3}
_BREAK_ON, _BREAK_OFF, _DTR_ON, _DTR_OFF, _RTS_ON, _RTS_OFF = 5, 6, 8, 9, 11, 12
_PURGE_BOTH = 3
# Bits of the line state, the "Line Status Register" of a 16550.
_LINE_ERRORS = {2: "overrun", 4: "parity", 8: "framing", 16: "break"}

_CONFIRM_S = 5.0
_RECEIVE_BYTES = 1 << 16
# Escaping copies; what the socket does not take is escaped again.
_SEND_BYTES = 1 << 14


class Rfc2217Line(SocketLine):
    """A line on a connected socket to an RFC 2217 server; made by `open_rfc2217`."""

    def __init__(self, url: str, connection: socket.socket) -> None:
        super().__init__(url, connection)
        self._decoder = Decoder()
        self._data = b""  # decoded, not yet read
        self._replies = bytearray()  # to be sent before anything else
        # A doubled IAC of which one has been sent, or both but without telling the caller.
        self._half_sent = self._uncounted = False
        self._suspended = False
        self._asked: set[tuple[int, int]] = set()
        self._agreed: dict[tuple[int, int], bool] = {}
        self._confirmed: dict[int, bytes] = {}
        self._errors: Counter[str] = Counter()

    @property
    def line_errors(self) -> Mapping[str, int]:
        """Overrun, parity and framing errors and breaks that the server has told of, counted."""
        return dict(self._errors)

    def read(self, limit: int) -> bytes:
        """Return what has arrived; what the server says besides is dealt with."""
        while not self._data:
            raw = super().read(_RECEIVE_BYTES)
            if not raw:
                break
            self._take(raw)
        self._flush()
        data, self._data = self._data[:limit], self._data[limit:]
        return data

    def write(self, data: bytes) -> int:
        """Hand some of ``data`` to the kernel; none while the server has us suspended."""
        if self._suspended or not data or not self._flush():
            return 0
        if self._half_sent:
            # If the rest was given up and `data` is something else, the byte 255 goes out all
            # the same: the server waits for its second half, and it cannot be taken back.
            if not super().write(bytes([IAC])):
                return 0
            self._half_sent, self._uncounted = False, True
        taken = int(self._uncounted and data[0] == IAC)
        self._uncounted = False
        piece = data[taken : taken + _SEND_BYTES]
        encoded = escape(piece)
        sent = super().write(encoded) if encoded else 0
        if sent == len(encoded):
            return taken + len(piece)
        count, self._half_sent = _unescaped(encoded[:sent])
        return taken + count

    def send_break(self, seconds: float) -> None:
        """Hold the break condition for ``seconds``, by the clock of this machine."""
        end = time.monotonic() + seconds + _CONFIRM_S
        self._request(_SET_CONTROL, bytes([_BREAK_ON]), "a break", end)
        try:
            time.sleep(seconds)
        finally:
            self._request(_SET_CONTROL, bytes([_BREAK_OFF]), "a break", end)

    def set_baud(self, rate: int) -> None:
        """Change the rate and check that the server has."""
        check_baud(rate)
        end = time.monotonic() + _CONFIRM_S
        self._request(_SET_BAUDRATE, rate.to_bytes(4, "big"), f"{rate} baud", end)

    def set_parity(self, parity: Parity) -> None:
        """Change the parity and check that the server has."""
        check_parity(parity)
        end = time.monotonic() + _CONFIRM_S
        self._request(_SET_PARITY, bytes([_PARITIES[parity]]), f"parity {parity}", end)

    def set_signals(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Set DTR and RTS."""
        self._set_outputs(dtr, rts, time.monotonic() + _CONFIRM_S)

    def purge(self) -> None:
        """Throw away what the server holds in both directions."""
        self._request(_PURGE_DATA, bytes([_PURGE_BOTH]), "a purge", time.monotonic() + _CONFIRM_S)

    def negotiate(self, settings: LineSettings, *, deadline_s: float) -> None:
        """Agree on the options, then on the settings of the port.

        Raises:
            LabctlError: The server refuses an option, or does not answer.
            UnsupportedError: The server answers with other settings than asked for.
        """
        end = time.monotonic() + deadline_s
        try:
            self._agree(end)
            self._set_up(settings, end)
        except LineGoneError:
            words = clean_line(self._first_words())
            if "in use" not in words.lower():  # ser2net: "Port already in use"
                raise
            raise LineBusyError(
                f"the server says: {words}", thing=self.url, action="wait, or end who uses it"
            ) from None

    def _agree(self, end: float) -> None:
        """Agree on the Telnet options."""
        wanted = [(WILL, COM_PORT), (WILL, BINARY), (DO, BINARY)]
        for verb, option in (*wanted, (WILL, SUPPRESS_GO_AHEAD), (DO, SUPPRESS_GO_AHEAD)):
            self._asked.add((verb, option))
            self._replies += negotiate(verb, option)

        def settled() -> bool:
            answers = [self._agreed.get(one) for one in wanted]
            return None not in answers or False in answers

        self._wait(settled, end)
        # What was refused explains more than what was still to be answered.
        for verb, option in sorted(wanted, key=lambda one: self._agreed.get(one, True)):
            if not self._agreed.get((verb, option)):
                word = "refuses" if (verb, option) in self._agreed else "does not answer to"
                raise LabctlError(
                    f"the server {word} {_NAMES[option]}",
                    thing=self.url,
                    action=f"if it is a raw port, use socket://{self.url.partition('://')[2]}",
                )

    def _set_up(self, settings: LineSettings, end: float) -> None:
        """Set the port, once, each setting confirmed."""
        mask = bytes([sum(_LINE_ERRORS)])
        self._send(subnegotiate(COM_PORT, bytes([_SET_LINESTATE_MASK]) + mask), end)
        self._send(subnegotiate(COM_PORT, bytes([_SET_MODEMSTATE_MASK, 0])), end)
        for code, value, what in (
            (_SET_BAUDRATE, settings.baud.to_bytes(4, "big"), f"{settings.baud} baud"),
            (_SET_DATASIZE, bytes([settings.data_bits]), f"{settings.data_bits} data bits"),
            (_SET_PARITY, bytes([_PARITIES[settings.parity]]), f"parity {settings.parity}"),
            (_SET_STOPSIZE, bytes([_STOPS[settings.stop_bits]]), f"stop_bits {settings.stop_bits}"),
            (_SET_CONTROL, bytes([_FLOWS[settings.flow]]), f"flow {settings.flow}"),
        ):
            self._request(code, value, what, end)
        self._set_outputs(settings.dtr, settings.rts, end)

    def _set_outputs(self, dtr: bool | None, rts: bool | None, end: float) -> None:
        if dtr is not None:
            self._request(_SET_CONTROL, bytes([_DTR_ON if dtr else _DTR_OFF]), "DTR", end)
        if rts is not None:
            self._request(_SET_CONTROL, bytes([_RTS_ON if rts else _RTS_OFF]), "RTS", end)

    def _first_words(self) -> bytes:
        return self._data[:200]

    def _request(self, code: int, value: bytes, what: str, end: float) -> None:
        """Send one request and wait until the server has confirmed it."""
        answer = code + _FROM_SERVER
        self._confirmed.pop(answer, None)
        self._send(subnegotiate(COM_PORT, bytes([code]) + value), end)
        if not self._wait(lambda: answer in self._confirmed, end):
            raise UnsupportedError(f"the server did not confirm {what}", thing=self.url)
        # The answer to a change of an output is its state as the server sees it, and they see it
        # differently: ser2net 4.3 says "break on" when it is told to end one.
        if code == _SET_CONTROL and value[0] not in _FLOWS.values():
            return
        if (actual := self._confirmed[answer]) != value:
            got = int.from_bytes(actual, "big")
            raise UnsupportedError(f"the server did not take {what} but {got}", thing=self.url)

    def _wait(self, done: Callable[[], bool], end: float) -> bool:
        """Receive until ``done``; return whether it is, at the latest at ``end``."""
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                return False
            unsent = [self] if not self._flush() else []
            ready, _, _ = select.select([self], unsent, [], left)
            if ready and (raw := super().read(_RECEIVE_BYTES)):
                self._take(raw)
        return True

    def _send(self, message: bytes, end: float) -> None:
        """Send ``message`` behind what is due before it, waiting at most until ``end``."""
        if self._half_sent:
            self._replies[:0] = bytes([IAC])
            self._half_sent, self._uncounted = False, True
        self._replies += message
        while not self._flush():
            left = end - time.monotonic()
            if left <= 0 or not select.select([], [self], [], left)[1]:
                raise LineGoneError("the server takes no more data", thing=self.url)

    def _flush(self) -> bool:
        """Send what is due before data; return whether all of it has gone."""
        if self._replies and not self._half_sent:
            del self._replies[: super().write(bytes(self._replies))]
        return not self._replies or self._half_sent

    def _take(self, raw: bytes) -> None:
        data, commands = self._decoder.feed(raw)
        self._data = self._data + data if self._data else data
        for command in commands:
            self._obey(command)

    def _obey(self, command: Command) -> None:
        verb, option = command.verb, command.option
        if verb == SB and option == COM_PORT and command.payload:
            self._hear(command.payload[0], command.payload[1:])
        elif verb in (DO, DONT):
            self._settle(WILL, option, agrees=verb == DO, refusal=WONT)
        elif verb in (WILL, WONT):
            self._settle(DO, option, agrees=verb == WILL, refusal=DONT)

    def _settle(self, ours: int, option: int, *, agrees: bool, refusal: int) -> None:
        """Note the answer to what we asked for; refuse what we did not (RFC 854's rule 2)."""
        if (ours, option) in self._asked:
            self._agreed[ours, option] = agrees
        elif agrees:
            # Some servers offer COM-PORT-OPTION from their side too; only one side may be client.
            self._replies += negotiate(refusal, option)

    def _hear(self, code: int, value: bytes) -> None:
        if code == _SUSPEND:
            self._suspended = True
        elif code == _RESUME:
            self._suspended = False
        elif code == _NOTIFY_LINESTATE and value:
            self._errors.update(name for bit, name in _LINE_ERRORS.items() if value[0] & bit)
        elif code == _SIGNATURE and not value:  # the server asks who we are
            self._replies += subnegotiate(COM_PORT, bytes([_SIGNATURE]) + b"labctl")
        else:
            self._confirmed[code] = value


def open_rfc2217(
    url: str, host: str, port: int, settings: LineSettings, *, deadline_s: float
) -> Rfc2217Line:
    """Connect to an RFC 2217 server and set its port.

    Raises:
        UnreachableError: No such host, nobody listens, or no answer within ``deadline_s`` seconds.
        LineBusyError: The server says that somebody else uses the port.
        UnsupportedError: The port cannot run with these settings.
        LabctlError: The server does not speak RFC 2217.
    """
    end = time.monotonic() + deadline_s
    line = Rfc2217Line(url, connect_tcp(url, host, port, deadline_s=deadline_s))
    try:
        line.negotiate(settings, deadline_s=max(end - time.monotonic(), 0.1))
    except BaseException:
        line.close()
        raise
    return line


def _unescaped(sent: bytes) -> tuple[int, bool]:
    """Return how many bytes of data the escaped bytes ``sent`` are, and whether half a one more."""
    run = len(sent) - len(sent.rstrip(bytes([IAC])))
    half = run % 2 == 1
    return len(sent) - half - sent.count(IAC) // 2, half
