"""A line that is lent to a program: the port itself, or a bridge to lines that have none."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lines import PtyLine, owned

from labctl.boards.client import LineClient
from labctl.boards.owner.journal import read_journal
from labctl.boards.owner.protocol import LeaseLostError
from labctl.errors import UnreachableError
from labctl.transport.lines.base import LineGoneError

DEADLINE_S = 30.0


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "lines"
    folder.mkdir()
    return folder


@pytest.fixture
def board(tmp_path: Path) -> PtyLine:
    return PtyLine(tmp_path)


@pytest.fixture
def client(base: Path, board: PtyLine) -> Iterator[LineClient]:
    with owned(base, str(board.path)) as attached:
        attached.acquire("test")
        attached.follow()
        yield attached


def another(client: LineClient) -> LineClient:
    return LineClient(client.place, client.config)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def read_all(client: LineClient, wanted: int) -> bytes:
    heard = b""
    deadline = time.monotonic() + DEADLINE_S
    while len(heard) < wanted:
        assert time.monotonic() < deadline, heard
        heard += client.read(0.5)
    return heard


def read_from(descriptor: int, wanted: int) -> bytes:
    heard = b""
    while len(heard) < wanted:
        assert select.select([descriptor], [], [], DEADLINE_S)[0], heard
        heard += os.read(descriptor, 4096)
    return heard


def journal(client: LineClient) -> list[dict[str, object]]:
    return [
        one for one in read_journal(client.place.events) if one["event"] in ("lent", "returned")
    ]


def test_a_port_is_lent_and_comes_back(client: LineClient, board: PtyLine) -> None:
    os.write(board.master, b"before ")
    assert read_all(client, 7) == b"before "
    with client.lend("avrdude") as lent:
        assert lent.direct
        assert lent.device == board.path.resolve()
        status = client.status()
        assert not status.open
        assert status.cause.startswith("it is lent to avrdude, by ")
        assert f"(pid {os.getpid()})" in status.cause
        with pytest.raises(LineGoneError, match="lent to avrdude"):
            client.write(b"x")
        lent.check()
        # The program has the port to itself: it hears all, and the record nothing of it.
        descriptor = os.open(lent.device, os.O_RDWR | os.O_NOCTTY)
        os.write(board.master, b"only for you")
        assert read_from(descriptor, 12) == b"only for you"
        os.write(descriptor, b"thanks")
        assert read_from(board.master, 6) == b"thanks"
        os.close(descriptor)
    assert client.status().open
    os.write(board.master, b"after")
    assert read_all(client, 5) == b"after"
    client.write(b"works")
    assert read_from(board.master, 5) == b"works"
    assert client.record.tail(100) == b"before after"
    lent_at, returned_at = journal(client)
    assert lent_at["to"] == returned_at["to"] == "avrdude"
    assert lent_at["offset"] == returned_at["offset"] == 7  # where the record has its gap
    assert returned_at["why"] == "given back"


def test_a_reader_goes_on_where_it_was(client: LineClient, board: PtyLine) -> None:
    with another(client) as reader:
        reader.follow()
        os.write(board.master, b"one")
        assert read_all(reader, 3) == b"one"
        with client.lend("avrdude"):
            assert reader.read(0) == b""
        os.write(board.master, b"two")
        assert read_all(reader, 3) == b"two"
        # Reading has taken those that came before its bytes.
        events = [one["event"] for one in reader.poll_events()]
        assert events in ([], ["back"], ["lent", "back"])


BORROWER = """
import sys, os
from pathlib import Path
from labctl.boards.client import LineClient
from labctl.boards.owner.place import Place
place = Place.at(Path(sys.argv[1]))
client = LineClient(place, place.read_config())
client.acquire("borrower")
with client.lend("avrdude") as lent:
    print(lent.device, flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def borrower(client: LineClient) -> Iterator[subprocess.Popen[str]]:
    client.release()
    process = subprocess.Popen(
        [sys.executable, "-c", BORROWER, str(client.place.folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("/dev/pts/")
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_borrower_that_is_killed_returns_the_line(client: LineClient, board: PtyLine) -> None:
    with borrower(client) as process:
        assert not client.status().open
        process.send_signal(signal.SIGKILL)
        until(lambda: client.status().open)
    assert journal(client)[-1]["why"] == "its borrower has gone"
    os.write(board.master, b"still here")
    assert read_all(client, 10) == b"still here"
    client.acquire("next")


def test_force_takes_a_lent_line_back(client: LineClient) -> None:
    with another(client) as boss:
        with pytest.raises(LeaseLostError, match="taken by force"), client.lend("avrdude") as lent:
            boss.force_release()
            until(lambda: boss.status().open)
            lent.check()
        boss.acquire("boss")
    assert journal(client)[-1]["why"] == "taken by force"


def test_a_number_that_was_given_to_another_program_is_left_alone(
    client: LineClient, board: PtyLine
) -> None:
    with pytest.raises(UnreachableError), client.lend("avrdude"):
        os.close(board._slave)
        os.close(board.master)
        # The kernel gives the lowest free number: the link leads to somebody else's now.
        board.master, board._slave = os.openpty()
    assert not client.status().open
    assert select.select([board.master], [], [], 0)[0] == []


def test_what_goes_wrong_meanwhile_is_what_is_told(client: LineClient, board: PtyLine) -> None:
    with pytest.raises(KeyboardInterrupt), client.lend("avrdude"):
        board.unplug()
        raise KeyboardInterrupt
    board.plug()
    until(lambda: client.status().open)


def test_only_the_holder_lends(client: LineClient) -> None:
    with another(client) as other:
        with pytest.raises(LeaseLostError), other.lend("avrdude"):
            pass
        other.request("return")  # nothing to return: it is open
    assert client.status().open


def test_a_line_that_was_pulled_out_meanwhile_is_an_error_and_comes_back(
    client: LineClient, board: PtyLine
) -> None:
    with pytest.raises(UnreachableError, match="no such port"), client.lend("avrdude"):
        board.unplug()
    board.plug()
    until(lambda: client.status().open)


class Wire:
    """A TCP port that is a board: what it hears is in ``heard``."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.link: socket.socket | None = None
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self) -> None:
        self.link, _ = self.listener.accept()

    def board(self) -> socket.socket:
        self.thread.join(DEADLINE_S)
        assert self.link
        self.link.settimeout(DEADLINE_S)
        return self.link


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.listener.close()
    if made.link:
        made.link.close()


def test_a_line_without_a_device_gets_a_bridge(base: Path, wire: Wire) -> None:
    payload = bytes(range(256)) * 64
    with owned(base, f"socket://127.0.0.1:{wire.port}") as client:
        client.acquire("test")
        board = wire.board()
        with client.lend("avrdude") as lent:
            assert not lent.direct
            assert client.status().open
            descriptor = os.open(lent.device, os.O_RDWR | os.O_NOCTTY)
            tty.setraw(descriptor)
            writer = threading.Thread(target=os.write, args=(descriptor, payload))
            writer.start()
            heard = b""
            while len(heard) < len(payload):
                heard += board.recv(4096)
            assert heard == payload
            writer.join(DEADLINE_S)
            board.sendall(payload[:3000])
            assert read_from(descriptor, 3000) == payload[:3000]
            # A raw TCP port has no rate: setting one is no error.
            settings = termios.tcgetattr(descriptor)
            settings[4] = settings[5] = termios.B57600
            termios.tcsetattr(descriptor, termios.TCSANOW, settings)
            os.write(descriptor, b"last words")
            os.close(descriptor)
        assert board.recv(100) == b"last words"
        assert client.record.tail(3000) == payload[:3000]  # all of it is in the record
        client.write(b"on")
        assert board.recv(100) == b"on"


def test_a_bridge_says_what_broke_it(base: Path, wire: Wire) -> None:
    with owned(base, f"socket://127.0.0.1:{wire.port}") as client:
        client.acquire("test")
        board = wire.board()
        with pytest.raises(LineGoneError), client.lend("avrdude") as lent:
            board.close()
            wire.listener.close()
            while True:
                lent.check()
                time.sleep(0.01)
