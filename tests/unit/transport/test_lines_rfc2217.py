"""Our client of RFC 2217 against a server of the test's own, which can be told to misbehave.

The real server, ser2net, is in tests/integration/lines.
"""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.errors import LabctlError
from labctl.transport.lines.base import Line, LineBusyError, LineGoneError, UnsupportedError
from labctl.transport.lines.opening import open_line
from labctl.transport.lines.rfc2217 import BINARY, COM_PORT, Rfc2217Line
from labctl.transport.lines.settings import LineSettings
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


@dataclass
class Server:
    """Serves one connection on a thread; what it does not know it answers as RFC 2217 says."""

    refuses: frozenset[int] = frozenset()
    answers: dict[int, bytes] = field(default_factory=dict)  # to a code, instead of the value
    silent: frozenset[int] = frozenset()  # codes and options without an answer
    greeting: bytes = b""
    hangs_up: bool = False
    asked: list[tuple[int, bytes]] = field(default_factory=list)
    refused: list[Command] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self.listener.getsockname()[1]}"
        self.connection: socket.socket | None = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            self.connection, _ = self.listener.accept()
            self.connection.sendall(self.greeting)
            if self.hangs_up:
                self.connection.close()
                return
            decoder = Decoder()
            while raw := self.connection.recv(65536):
                data, commands = decoder.feed(raw)
                self.data += data
                for command in commands:
                    self.connection.sendall(self.answer(command))

    def answer(self, command: Command) -> bytes:
        if command.verb == SB and command.option == COM_PORT:
            code, value = command.payload[0], command.payload[1:]
            self.asked.append((code, value))
            if code in self.silent:
                return b""
            value = self.answers.get(code, value)
            return subnegotiate(COM_PORT, bytes([code + 100]) + value)
        if command.option in self.silent:
            return b""
        if command.verb in (WONT, DONT):
            self.refused.append(command)
            return b""
        yes, no = {WILL: (DO, DONT), DO: (WILL, WONT)}[command.verb]
        return negotiate(no if command.option in self.refuses else yes, command.option)

    def say(self, raw: bytes) -> None:
        assert self.connection
        self.connection.sendall(raw)

    def close(self) -> None:
        for one in (self.listener, self.connection):
            if one:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(**more: object) -> Server:
        started.append(Server(**more))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve()


@pytest.fixture
def line(server: Server) -> Iterator[Rfc2217Line]:
    opened = open_line(server.url, LineSettings())
    assert isinstance(opened, Rfc2217Line)
    yield opened
    opened.close()


def receive(line: Line, count: int) -> bytes:
    got = b""
    end = time.monotonic() + 10
    while len(got) < count:
        data = line.read(7)
        got += data
        if not data:
            assert select.select([line], [], [], max(end - time.monotonic(), 0))[0], got
    return got


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_each_setting_is_asked_for_once(serve: Callable[..., Server]) -> None:
    server = serve()
    wanted = LineSettings(
        baud=460800, data_bits=7, parity="even", stop_bits=1.5, flow="rtscts", dtr=False, rts=True
    )
    open_line(server.url, wanted).close()
    assert server.asked == [
        (10, bytes([2 + 4 + 8 + 16])),
        (11, b"\0"),
        (1, (460800).to_bytes(4, "big")),
        (2, b"\x07"),
        (3, b"\x03"),
        (4, b"\x03"),
        (5, b"\x03"),
        (5, b"\x09"),
        (5, b"\x0b"),
    ]


def test_every_byte_passes_both_ways(server: Server, line: Rfc2217Line) -> None:
    every = bytes(range(256)) + b"\xff\xff\r\0\r\n"
    server.say(escape(every))
    assert receive(line, len(every)) == every
    assert line.read(10) == b""
    assert line.write(every) == len(every)
    until(lambda: len(server.data) == len(every))
    assert server.data == every


def test_what_the_board_says_during_the_negotiation_is_kept(serve: Callable[..., Server]) -> None:
    server = serve(greeting=b"U-Boot 2023")
    line = open_line(server.url, LineSettings())
    assert line.read(100) == b"U-Boot 2023"
    line.close()


def test_reading_negotiates_nothing(server: Server, line: Rfc2217Line) -> None:
    before = len(server.asked)
    for _ in range(20):
        line.read(10)
    line.purge()
    assert server.asked[before:] == [(12, b"\x03")]


def test_break_rate_and_outputs(server: Server, line: Rfc2217Line) -> None:
    before = len(server.asked)
    line.send_break(0.0)
    line.set_baud(1500000)
    line.set_parity("even")
    line.set_signals(dtr=True, rts=False)
    assert server.asked[before:] == [
        (5, b"\x05"),
        (5, b"\x06"),
        (1, (1500000).to_bytes(4, "big")),
        (3, b"\x03"),
        (5, b"\x08"),
        (5, b"\x0c"),
    ]


def test_line_errors_are_counted(server: Server, line: Rfc2217Line) -> None:
    for state in (0b10, 0b1010, 0b10000, 0b1100001):
        server.say(subnegotiate(COM_PORT, bytes([106, state])))
    server.say(b"x")
    assert receive(line, 1) == b"x"
    assert line.line_errors == {"overrun": 2, "framing": 1, "break": 1}


def test_a_suspended_client_sends_nothing(server: Server, line: Rfc2217Line) -> None:
    server.say(subnegotiate(COM_PORT, bytes([108])) + b"x")
    receive(line, 1)
    assert line.write(b"data") == 0
    server.say(subnegotiate(COM_PORT, bytes([109])) + b"x")
    receive(line, 1)
    assert line.write(b"data") == 4


def test_options_that_nobody_asked_for_are_refused_once(server: Server, line: Rfc2217Line) -> None:
    server.say(negotiate(WILL, 1) + negotiate(DO, 24) + negotiate(DONT, 24) + b"x")
    receive(line, 1)
    until(lambda: len(server.refused) == 2)
    assert server.refused == [Command(DONT, 1), Command(WONT, 24)]


def test_who_asks_is_told_the_name(server: Server, line: Rfc2217Line) -> None:
    server.say(subnegotiate(COM_PORT, b"\0") + b"x")
    receive(line, 1)
    until(lambda: server.asked[-1] == (0, b"labctl"))


@pytest.mark.parametrize(
    ("option", "name"), [(COM_PORT, "COM-PORT-OPTION"), (BINARY, "binary transmission")]
)
def test_a_refused_option_says_to_use_a_raw_port(
    serve: Callable[..., Server], option: int, name: str
) -> None:
    server = serve(refuses=frozenset({option}))
    begun = time.monotonic()
    with pytest.raises(LabctlError) as caught:
        open_line(server.url, LineSettings(), deadline_s=300)
    assert f"the server refuses {name}" in str(caught.value)
    assert f"use socket://127.0.0.1:{server.url.rpartition(':')[2]}" in str(caught.value)
    assert time.monotonic() - begun < 150  # it did not wait for the deadline


def test_a_raw_port_that_does_not_answer_is_given_up(serve: Callable[..., Server]) -> None:
    server = serve(silent=frozenset({COM_PORT}))
    with pytest.raises(LabctlError, match="does not answer to COM-PORT-OPTION"):
        open_line(server.url, LineSettings(), deadline_s=0.5)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"answers": {1: (9600).to_bytes(4, "big")}}, "did not take 115200 baud but 9600"),
        ({"answers": {2: b"\x07"}}, "did not take 8 data bits but 7"),
        ({"silent": frozenset({3})}, "did not confirm parity none"),
    ],
)
def test_settings_are_checked(
    serve: Callable[..., Server], more: dict[str, object], said: str
) -> None:
    with pytest.raises(UnsupportedError, match=said):
        open_line(serve(**more).url, LineSettings(), deadline_s=2)


def test_a_busy_port_says_so(serve: Callable[..., Server]) -> None:
    server = serve(greeting=b"Port already in use\r\n", hangs_up=True)
    with pytest.raises(LineBusyError, match="the server says: Port already in use"):
        open_line(server.url, LineSettings())


def test_a_server_that_goes_is_noticed(server: Server, line: Rfc2217Line) -> None:
    server.close()
    with pytest.raises(LineGoneError, match="closed by the other side"):
        receive(line, 1)


class Slow:
    """A socket that takes so and so many bytes at a time."""

    def __init__(self, amounts: list[int]) -> None:
        self.amounts = amounts
        self.sent = bytearray()

    def setblocking(self, flag: bool) -> None:
        pass

    def send(self, data: bytes) -> int:
        amount = self.amounts.pop() if self.amounts else len(data)
        if not amount:
            raise BlockingIOError
        self.sent += data[:amount]
        return min(amount, len(data))


HARD = st.lists(st.sampled_from([IAC, IAC, IAC, 0, 65])).map(bytes) | st.binary()


@settings(max_examples=300)
@given(HARD, st.lists(st.integers(0, 5)), st.data())
def test_short_writes_lose_and_double_nothing(
    data: bytes, amounts: list[int], choice: st.DataObject
) -> None:
    """Also with a command (set_baud) between two writes."""
    slow = Slow(amounts)
    line = Rfc2217Line("x", slow)  # type: ignore[arg-type]
    rest = data
    commands = 0
    while rest:
        rest = rest[line.write(rest) :]
        if slow.amounts and choice.draw(st.booleans()):
            slow.amounts.clear()
            line._send(subnegotiate(COM_PORT, b"\x01\0\0\0\xff"), time.monotonic() + 5)
            commands += 1
    received, seen = Decoder().feed(bytes(slow.sent))
    assert received == data
    assert len(seen) == commands


def test_what_is_given_up_in_the_middle_of_a_pair_does_not_spoil_what_follows() -> None:
    slow = Slow([1])
    line = Rfc2217Line("x", slow)  # type: ignore[arg-type]
    assert line.write(b"\xff\xff") == 0
    assert line.write(b"reset\n") == 6
    assert Decoder().feed(bytes(slow.sent)) == (b"\xffreset\n", [])
