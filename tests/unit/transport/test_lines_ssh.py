"""A port of another host over a real sshd; the port is a pseudo-terminal."""

import os
import select
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sshd_server import Server

from labctl.errors import LabctlError, UnreachableError, UsageError
from labctl.transport.lines.base import Line, LineBusyError, LineGoneError, UnsupportedError
from labctl.transport.lines.opening import open_line
from labctl.transport.lines.settings import LineSettings
from labctl.transport.session import Session
from labctl.transport.ssh import Access, connect

Open = Callable[..., Line]


@pytest.fixture
def reach(serve: Callable[..., Server], my_key: Path) -> Callable[[str], Session]:
    server = serve()
    server.let_in(my_key)

    def session(name: str) -> Session:
        assert name == "box"
        return connect(server.target(identity_files=(str(my_key),)), Access())

    return session


@pytest.fixture
def port() -> Iterator[tuple[int, str]]:
    """Return the board's side of a port, and the name of the port."""
    board, slave = os.openpty()
    name = os.ttyname(slave)
    yield board, name
    for descriptor in (board, slave):
        os.close(descriptor)


@pytest.fixture
def open_port(reach: Callable[[str], Session]) -> Iterator[Open]:
    opened: list[Line] = []

    def open_it(device: str, settings: LineSettings | None = None) -> Line:
        line = open_line(
            f"ssh:box:{device}", settings or LineSettings(), session_for_host=reach, deadline_s=20
        )
        opened.append(line)
        return line

    yield open_it
    for line in opened:
        line.close()


def receive(line: Line, count: int, timeout: float = 20) -> bytes:
    got = b""
    end = time.monotonic() + timeout
    while len(got) < count:
        data = line.read(1 << 16)
        got += data
        if not data:
            left = end - time.monotonic()
            assert left > 0, f"{len(got)} of {count} bytes"
            select.select([line], [], [], left)
    return got


def read_board(board: int, count: int, timeout: float = 20) -> bytes:
    got = b""
    end = time.monotonic() + timeout
    while len(got) < count:
        assert select.select([board], [], [], max(end - time.monotonic(), 0))[0], got
        got += os.read(board, 1 << 16)
    return got


def test_every_byte_passes_both_ways(open_port: Open, port: tuple[int, str]) -> None:
    board, name = port
    line = open_port(name)
    every = bytes(range(256))
    assert line.write(every) == 256
    assert read_board(board, 256) == every
    os.write(board, every)
    assert receive(line, 256) == every
    assert line.read(10) == b""


def test_much_passes_whole(open_port: Open, port: tuple[int, str]) -> None:
    board, name = port
    line = open_port(name)
    data = os.urandom(1 << 20)

    def say() -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(board, rest[:4096]) :]

    speaker = threading.Thread(target=say)
    begun = time.monotonic()
    speaker.start()
    assert receive(line, len(data), 60) == data
    print(f"ssh: {1 / (time.monotonic() - begun):.1f} MiB/s")
    speaker.join()


def test_settings_and_rate_arrive(open_port: Open, port: tuple[int, str]) -> None:
    board, name = port
    line = open_port(name, LineSettings(baud=9600, stop_bits=2))
    attributes = termios.tcgetattr(board)
    assert attributes[4] == termios.B9600
    assert attributes[2] & termios.CSTOPB
    assert not attributes[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
    line.set_baud(57600)
    assert termios.tcgetattr(board)[4] == termios.B57600
    line.set_parity("none")
    assert termios.tcgetattr(board)[4] == termios.B57600
    # A pseudo-terminal has no parity, and stty says so.
    with pytest.raises(UnsupportedError, match="setting parity even failed: stty"):
        line.set_parity("even")
    with pytest.raises(UnsupportedError, match="setting 12345 baud failed: stty"):
        line.set_baud(12345)


def test_a_break_is_a_nul_and_the_rate_is_as_before(open_port: Open, port: tuple[int, str]) -> None:
    board, name = port
    line = open_port(name, LineSettings(baud=115200))
    line.send_break(0.1)
    assert read_board(board, 1) == b"\0"
    assert termios.tcgetattr(board)[4] == termios.B115200


def test_unplugging_is_noticed(open_port: Open) -> None:
    board, slave = os.openpty()
    line = open_port(os.ttyname(slave))
    os.close(slave)
    os.close(board)
    with pytest.raises(LineGoneError, match="is gone"):
        receive(line, 1)


def test_closing_frees_the_port_and_it_opens_again(open_port: Open, port: tuple[int, str]) -> None:
    _, name = port
    for _ in range(2):
        line = open_port(name)
        line.close()
        line.close()
    assert open_port(name)


def test_a_dead_connection_of_ours_does_not_keep_the_port(
    open_port: Open, port: tuple[int, str]
) -> None:
    """As after a network that went away: sshd at the other end has not noticed."""
    board, name = port
    open_port(name)
    line = open_port(name)
    line.write(b"second")
    assert read_board(board, 6) == b"second"


def test_a_port_of_another_program_is_busy(open_port: Open, port: tuple[int, str]) -> None:
    _, name = port
    held = open_line(name, LineSettings())
    try:
        with pytest.raises(LineBusyError, match=rf"py.*\(pid {os.getpid()}\) on box holds"):
            open_port(name)
    finally:
        held.close()


def test_what_cannot_be_opened_says_why(open_port: Open, port: tuple[int, str]) -> None:
    _, name = port
    with pytest.raises(UnreachableError, match="no such port on box"):
        open_port("/dev/ttyNOT")
    with pytest.raises(UsageError, match="not a serial port of box"):
        open_port("/etc/hostname")
    with pytest.raises(UnsupportedError, match=r"cannot set the port: stty.*12345"):
        open_port(name, LineSettings(baud=12345))
    with pytest.raises(UnsupportedError, match="DTR"):
        open_port(name, LineSettings(dtr=False))
    with pytest.raises(LabctlError, match="from here"):
        open_line("ssh:box:/dev/ttyUSB0", LineSettings())
