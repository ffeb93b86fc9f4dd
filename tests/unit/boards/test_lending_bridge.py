"""The bridge between a line and the pseudo-terminal that a program gets in its place."""

from __future__ import annotations

import os
import termios
import time
from collections.abc import Callable
from types import SimpleNamespace

from labctl.boards.lending import Bridge
from labctl.transport.lines.base import UnsupportedError


class Client:
    """A line that is made up, and notes what is done to it."""

    config = SimpleNamespace(settings=SimpleNamespace(baud=9600))

    def __init__(self, *, rates: bool = True) -> None:
        self._read, self._say = os.pipe()
        self._rates = rates
        self.done: list[tuple[str, object]] = []

    def follow(self) -> None:
        self.done.append(("follow", None))

    def fileno(self) -> int:
        return self._read

    def read(self, timeout: float) -> bytes:
        return os.read(self._read, 4096)

    def write(self, data: bytes) -> None:
        self.done.append(("write", data))

    def check(self) -> None:
        return

    def set_baud(self, rate: int) -> None:
        if not self._rates:
            raise UnsupportedError("no rates")
        self.done.append(("baud", rate))

    def close(self) -> None:
        os.close(self._read)
        os.close(self._say)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def set_rate(descriptor: int, code: int) -> None:
    settings = termios.tcgetattr(descriptor)
    settings[4] = settings[5] = code
    termios.tcsetattr(descriptor, termios.TCSANOW, settings)


def test_the_rate_is_followed_before_what_is_written_at_it_and_given_back() -> None:
    client = Client()
    bridge = Bridge(client)  # type: ignore[arg-type]
    port = os.open(bridge.device, os.O_RDWR | os.O_NOCTTY)
    set_rate(port, termios.B115200)
    os.write(port, b"hello")
    until(lambda: ("write", b"hello") in client.done)
    set_rate(port, termios.B57600)
    os.write(port, b"again")
    os.close(port)
    bridge.close()
    assert client.done == [
        ("follow", None), ("baud", 115200), ("write", b"hello"), ("baud", 57600),
        ("write", b"again"), ("baud", 9600),
    ]  # fmt: skip
    client.close()


def test_a_line_without_a_rate_is_asked_once() -> None:
    client = Client(rates=False)
    bridge = Bridge(client)  # type: ignore[arg-type]
    port = os.open(bridge.device, os.O_RDWR | os.O_NOCTTY)
    for code in (termios.B115200, termios.B57600):
        set_rate(port, code)
        os.write(port, b"x")
        until(lambda: client.done[-1] == ("write", b"x"))
        client.done.append(("next", None))
    os.close(port)
    bridge.close()
    assert [what for what, _ in client.done] == ["follow", "write", "next", "write", "next"]
    client.close()


def test_a_program_that_does_not_read_stops_nothing() -> None:
    client = Client()
    bridge = Bridge(client)  # type: ignore[arg-type]
    for _ in range(40):
        os.write(client._say, b"x" * 1024)  # more than a pseudo-terminal holds
    port = os.open(bridge.device, os.O_RDWR | os.O_NOCTTY)
    os.write(port, b"still here")
    until(lambda: ("write", b"still here") in client.done)
    os.close(port)
    bridge.close()
    bridge.check()
    client.close()
