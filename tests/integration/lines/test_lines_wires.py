"""Every kind of line with real programs at the other end."""

import fcntl
import os
import select
import socket
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Wire, until

from labctl.errors import BusyError, LabctlError, UnreachableError
from labctl.transport.lines.base import Line, LineGoneError
from labctl.transport.lines.rfc2217 import Rfc2217Line
from labctl.transport.lines.settings import LineSettings

Open = Callable[..., Line]
Serve = Callable[[str, Path], int]

# With all 256 values at every place, so also runs of IAC, XON, XOFF and NUL.
MUCH = os.urandom(10 << 20)
RFC2217 = "telnet(rfc2217),"


def receive(line: Line, count: int, seconds: float = 120) -> bytes:
    got = bytearray()
    end = time.monotonic() + seconds
    while len(got) < count:
        data = line.read(1 << 16)
        got += data
        if not data:
            ready = select.select([line], [], [], max(end - time.monotonic(), 0))[0]
            assert ready, f"{len(got)} of {count} bytes"
    return bytes(got)


def send(line: Line, data: bytes, seconds: float = 120) -> None:
    rest = memoryview(data)
    end = time.monotonic() + seconds
    while rest:
        taken = line.write(bytes(rest[: 1 << 16]))
        rest = rest[taken:]
        if not taken:
            left = end - time.monotonic()
            assert select.select([], [line], [], max(left, 0))[1], f"{len(rest)} bytes left"


def until_gone(line: Line) -> None:
    with pytest.raises(LineGoneError):
        receive(line, 1 << 30)


@contextmanager
def board_end(wire: Wire) -> Iterator[int]:
    descriptor = wire.open_board()
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_board(descriptor: int, count: int, seconds: float = 120) -> bytes:
    got = bytearray()
    end = time.monotonic() + seconds
    while len(got) < count:
        ready = select.select([descriptor], [], [], max(end - time.monotonic(), 0))[0]
        assert ready, f"{len(got)} of {count} bytes"
        got += os.read(descriptor, 1 << 16)
    return bytes(got)


def write_board(descriptor: int, data: bytes, seconds: float = 120) -> None:
    rest = memoryview(data)
    end = time.monotonic() + seconds
    while rest:
        assert select.select([], [descriptor], [], max(end - time.monotonic(), 0))[1]
        rest = rest[os.write(descriptor, rest[:4096]) :]


@pytest.fixture(params=["tty", "socket", "rfc2217", "exec"])
def url(request: pytest.FixtureRequest, wire: Wire) -> str:
    """Return the URL of the wire's port, by each way to it."""
    if request.param == "tty":
        return str(wire.port)
    if request.param == "exec":
        return f"exec:exec socat -b65536 - {wire.port},raw,echo=0"
    serve: Serve = request.getfixturevalue("ser2net")
    number = serve(RFC2217 if request.param == "rfc2217" else "", wire.port)
    return f"{request.param}://127.0.0.1:{number}"


def test_much_passes_whole_both_ways(url: str, wire: Wire, opened: Open) -> None:
    line = opened(url)
    with board_end(wire) as board:
        send(line, b"?")  # the other end is open once this arrives
        read_board(board, 1)
        begun = time.monotonic()
        speaker = threading.Thread(target=write_board, args=(board, MUCH))
        speaker.start()
        got = receive(line, len(MUCH))
        speaker.join()
        inwards = time.monotonic() - begun
        assert got == MUCH
        begun = time.monotonic()
        some = MUCH[: 1 << 20]
        speaker = threading.Thread(target=send, args=(line, some))
        speaker.start()
        assert read_board(board, len(some)) == some
        speaker.join()
        outwards = time.monotonic() - begun
    kind = url.partition(":")[0] if ":" in url else "tty"
    print(f"{kind}: {10 / inwards:.1f} MiB/s from the board, {1 / outwards:.1f} MiB/s to it")


def test_unplugging_is_noticed_and_it_opens_again(
    url: str, wire: Wire, plug: Callable[[], Wire], opened: Open
) -> None:
    line = opened(url)
    with board_end(wire) as board:
        send(line, b"?")
        read_board(board, 1)
        wire.unplug()
        until_gone(line)
    line.close()
    if not url.startswith(("socket", "exec")):  # these cannot know before they have tried
        with pytest.raises(UnreachableError):
            opened(url)
    again = plug()
    line = opened(url)
    with board_end(again) as board:
        send(line, b"?")
        assert read_board(board, 1) == b"?"
        write_board(board, b"back")
        assert receive(line, 4) == b"back"


def rate(wire: Wire) -> int:
    descriptor = os.open(wire.port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return int(termios.tcgetattr(descriptor)[4])
    finally:
        os.close(descriptor)


def test_rates_arrive_at_the_port_of_a_console_server(
    wire: Wire, ser2net: Serve, opened: Open
) -> None:
    line = opened(f"rfc2217://127.0.0.1:{ser2net(RFC2217, wire.port)}", LineSettings(baud=57600))
    assert isinstance(line, Rfc2217Line)
    assert rate(wire) == termios.B57600
    line.set_baud(9600)
    assert rate(wire) == termios.B9600
    line.send_break(0.05)
    line.purge()
    assert line.line_errors == {}
    with board_end(wire) as board:
        send(line, b"still\xffhere")
        assert read_board(board, 10) == b"still\xffhere"


def test_a_console_server_with_a_client_is_busy(wire: Wire, ser2net: Serve, opened: Open) -> None:
    number = ser2net(RFC2217, wire.port)
    first = opened(f"rfc2217://127.0.0.1:{number}")
    with pytest.raises(BusyError, match="Port already in use"):
        opened(f"rfc2217://127.0.0.1:{number}")
    second = opened(f"socket://127.0.0.1:{ser2net('', wire.port)}")
    with pytest.raises(LineGoneError):
        receive(second, 1 << 20)
    with board_end(wire) as board:
        send(first, b"mine")
        assert read_board(board, 4) == b"mine"


def test_a_raw_port_is_no_rfc2217_port(wire: Wire, ser2net: Serve, opened: Open) -> None:
    number = ser2net("", wire.port)
    with pytest.raises(LabctlError, match=rf"use socket://127\.0\.0\.1:{number}"):
        opened(f"rfc2217://127.0.0.1:{number}").close()


def test_a_telnet_port_without_rfc2217_says_so(wire: Wire, ser2net: Serve, opened: Open) -> None:
    number = ser2net("telnet,", wire.port)
    with pytest.raises(LabctlError, match="the server refuses COM-PORT-OPTION"):
        opened(f"rfc2217://127.0.0.1:{number}")


def test_a_port_that_socat_holds_names_it(wire: Wire, opened: Open) -> None:
    """flock is what both know; socat takes it when told to."""
    with subprocess.Popen(
        ["socat", "-u", f"{wire.port},raw,echo=0,flock-ex-nb", "-"], stdout=subprocess.PIPE
    ) as other:
        try:
            until(lambda: _is_locked(wire.port), "socat does not lock")
            with pytest.raises(BusyError, match=rf"socat \(pid {other.pid}\) holds the port"):
                opened(str(wire.port))
        finally:
            other.terminate()
            other.communicate(timeout=20)
    opened(str(wire.port))


def _is_locked(port: Path) -> bool:
    descriptor = os.open(port, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_a_unix_socket_of_socat(tmp_path: Path, wire: Wire, opened: Open) -> None:
    path = tmp_path / "console.sock"
    with subprocess.Popen(["socat", f"unix-listen:{path}", f"{wire.port},raw,echo=0"]) as server:
        try:
            until(path.exists, "socat does not listen")
            line = opened(f"unix:{path}")
            with board_end(wire) as board:
                send(line, b"?")
                assert read_board(board, 1) == b"?"
                write_board(board, b"=> ")
                assert receive(line, 3) == b"=> "
        finally:
            server.terminate()
            server.wait(20)
    until_gone(line)


def test_a_line_that_loses_its_network_end(wire: Wire, ser2net: Serve, opened: Open) -> None:
    line = opened(f"socket://127.0.0.1:{ser2net('', wire.port)}")
    with socket.socket(fileno=os.dup(line.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)
    until_gone(line)
    with pytest.raises(LineGoneError):
        send(line, b"x" * 100)
