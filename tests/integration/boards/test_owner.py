"""The owner of a line as a real process, on a pseudo-terminal."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lines import PtyLine, owned

from labctl import procs
from labctl.boards.client import LineClient
from labctl.boards.owner import start
from labctl.boards.owner.conversation import Exchange
from labctl.boards.owner.journal import read_journal
from labctl.boards.owner.place import OwnerConfig, Place
from labctl.boards.owner.protocol import LeaseLostError
from labctl.errors import BusyError, LabctlError
from labctl.transport.lines.base import LineGoneError
from labctl.transport.lines.settings import LineSettings


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
        yield attached


def another(client: LineClient) -> LineClient:
    return LineClient(client.place, client.config)


def read_until(client: LineClient, wanted: int, *, timeout_s: float = 30.0) -> bytes:
    parts, count = [], 0
    deadline = time.monotonic() + timeout_s
    while count < wanted:
        assert time.monotonic() < deadline, f"only {count} of {wanted} bytes came"
        data = client.read(0.5)
        parts.append(data)
        count += len(data)
    return b"".join(parts)


def until(condition: object, *, timeout_s: float = 10.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_reader_gets_every_byte_from_any_offset(client: LineClient, board: PtyLine) -> None:
    os.write(board.master, b"before anybody reads\r\n")
    until(lambda: client.status().end == 22)
    client.follow(0)
    assert read_until(client, 22) == b"before anybody reads\r\n"
    with another(client) as second:
        second.follow(7)
        os.write(board.master, b"now")
        assert read_until(second, 18) == b"anybody reads\r\nnow"
        assert read_until(client, 3) == b"now"
        assert client.offset == second.offset == 25
    assert client.record.tail(3) == b"now"


def test_writing_needs_the_lease(client: LineClient, board: PtyLine) -> None:
    with pytest.raises(LeaseLostError, match="not leased to you"):
        client.write(b"x")
    client.acquire("test")
    client.write(b"hello")
    assert os.read(board.master, 100) == b"hello"
    with another(client) as second:
        with pytest.raises(BusyError) as refused:
            second.acquire("board run")
        said = str(refused.value)
        assert f"pid {os.getpid()}" in said
        assert "'test'" in said
        assert "--wait" in said
        assert "release uno --force" in said
        client.release()
        second.acquire("board run")
        assert second.status().lease["what"] == "board run"  # type: ignore[index]


def test_whoever_waits_gets_it_when_it_is_free(client: LineClient) -> None:
    client.acquire("first")
    got = threading.Event()

    def wait() -> None:
        with another(client) as second:
            second.acquire("second", wait_s=20)
            got.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not got.wait(0.3)
    client.release()
    assert got.wait(10)
    waiting.join(10)


def test_force_tells_the_holder_and_is_journalled(client: LineClient, board: PtyLine) -> None:
    client.acquire("long job")
    with another(client) as second:
        former = second.force_release()
        assert former is not None
        assert former["what"] == "long job"
        with pytest.raises(LeaseLostError, match="taken by force"):
            client.read(5)
        with pytest.raises(LeaseLostError):
            client.write(b"x")
    events = [entry for entry in read_journal(client.place.events) if entry["event"] == "released"]
    assert events[-1]["why"] == "taken by force"
    assert f"pid {os.getpid()}" in events[-1]["by"]


HOLDER = """
import sys, time
from pathlib import Path
from labctl.boards.client import LineClient
from labctl.boards.owner.place import Place
place = Place.at(Path(sys.argv[1]))
client = LineClient(place, place.read_config())
client.acquire("holder", ttl_s=float(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def holder(client: LineClient, ttl_s: float) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(client.place.folder), str(ttl_s)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_lease_goes_with_its_holder(client: LineClient) -> None:
    with holder(client, 1000) as process:
        with pytest.raises(BusyError):
            client.acquire("test")
        process.kill()
        process.wait()
        client.acquire("test", wait_s=10)


def test_rate_and_parity_are_as_before_when_a_lease_ends(
    client: LineClient, board: PtyLine
) -> None:
    def rate() -> int:
        return int(termios.tcgetattr(board.master)[4])

    with pytest.raises(LeaseLostError):
        client.set_parity("even")
    for end in ("released", "gone"):
        with another(client) as other:
            other.acquire("flash")
            other.set_baud(460800)
            other.set_parity("even")
            assert rate() == termios.B460800
            if end == "released":
                other.release()
                assert rate() == termios.B115200
        client.acquire("look", wait_s=10.0)
        assert rate() == termios.B115200
        client.release()
    ended = [
        one["event"]
        for one in read_journal(client.place.events)
        if one.get("why") == "the lease has ended"
    ]
    assert ended == ["baud", "parity"] * 2


def test_a_conversation_is_conducted_by_the_owner_until_it_goes_otherwise(
    client: LineClient, board: PtyLine
) -> None:
    def answer(count: int) -> None:
        for _ in range(count):
            data = os.read(board.master, 10)
            os.write(board.master, data.upper() + b"!")

    ab = [Exchange(b"a", 2, b"A"), Exchange(b"b", 2, b"B!")]
    with pytest.raises(LeaseLostError):
        client.converse(ab)
    client.acquire("flash")
    client.follow()
    os.write(board.master, b"before")
    assert read_until(client, 6) == b"before"
    for exchanges, count, expected in (
        (ab, 2, (2, b"A!B!")),
        ([ab[0], Exchange(b"b", 2, b"X"), ab[1]], 2, (1, b"A!B!")),
        ([Exchange(b"a", 1), ab[1]], 1, (0, b"A!")),
        ([ab[0], Exchange(b"b", 3, timeout=0.3)], 2, (1, b"A!B!")),
    ):
        board_says = threading.Thread(target=answer, args=(count,))
        board_says.start()
        assert client.converse(exchanges) == expected
        board_says.join()
    unplug = threading.Timer(0.2, board.unplug)
    unplug.start()
    with pytest.raises(LineGoneError):
        client.converse([Exchange(b"a", 2, timeout=30.0)])
    unplug.join()


def test_a_holder_that_hangs_loses_its_lease(client: LineClient) -> None:
    with holder(client, 1.0) as process:
        os.kill(process.pid, signal.SIGSTOP)
        client.acquire("test", wait_s=20)


CONTENDER = """
import os, sys, time
from pathlib import Path
from labctl.boards.client import LineClient
from labctl.boards.owner.place import Place
from labctl.errors import BusyError
place = Place.at(Path(sys.argv[1]))
inside = Path(sys.argv[2])
client = LineClient(place, place.read_config())
client.acquire("contender", wait_s=100)
mine = os.open(inside, os.O_CREAT | os.O_EXCL)  # fails if anybody else is inside
client.write(b"%d\\n" % os.getpid())
os.close(mine)
inside.unlink()
client.release()
"""


def test_of_a_hundred_processes_exactly_one_holds_it(
    client: LineClient, board: PtyLine, tmp_path: Path
) -> None:
    stop = threading.Event()
    seen = bytearray()

    def drain() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                seen.extend(os.read(board.master, 4096))

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    command = [sys.executable, "-c", CONTENDER, str(client.place.folder), str(tmp_path / "in")]
    crowd = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(100)]
    for process in crowd:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    until(lambda: seen.count(b"\n") == 100)
    stop.set()
    assert {int(line) for line in seen.split()} == {process.pid for process in crowd}


def test_many_start_one_owner(base: Path, board: PtyLine) -> None:
    place = Place(str(board.path.resolve()), base)
    config = OwnerConfig(board="uno", url=str(board.path), settings=LineSettings())
    found: list[int] = []

    def attach() -> None:
        with LineClient(place, config) as one:
            found.append(one.status().pid)

    crowd = [threading.Thread(target=attach) for _ in range(10)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join(60)
    try:
        assert len(found) == 10
        assert len(set(found)) == 1
    finally:
        assert start.stop(place)


def test_unplug_and_replug(client: LineClient, board: PtyLine) -> None:
    client.acquire("test")
    client.follow()
    os.write(board.master, b"last words")
    until(lambda: client.status().end == 10)
    board.unplug()
    assert read_until(client, 10) == b"last words"
    with pytest.raises(LineGoneError, match="went away"):
        client.read(20)
    with pytest.raises(LineGoneError):
        client.write(b"x")
    status = client.status()
    assert not status.open
    assert status.cause
    board.plug()
    until(lambda: client.status().open)
    os.write(board.master, b"again")
    assert read_until(client, 5) == b"again"
    assert client.leased
    client.write(b"hello")
    assert os.read(board.master, 100) == b"hello"


def test_a_killed_owner_is_followed_by_one_that_goes_on(base: Path, board: PtyLine) -> None:
    with owned(base, str(board.path)) as client:
        os.write(board.master, b"one")
        until(lambda: client.status().end == 3)
        place, config, pid = client.place, client.config, client.status().pid
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(LineGoneError):
            while True:
                client.read(10)
        until(lambda: procs.identify(pid) is None)
        with LineClient(place, config) as second:
            os.write(board.master, b"two")
            until(lambda: second.status().end == 6)
            assert second.record.tail(6) == b"onetwo"


def test_a_line_that_is_missing_says_so(base: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(LabctlError) as missing,
        owned(base, str(tmp_path / "ttyNONE")),
    ):
        pass
    assert "ttyNONE" in str(missing.value)
    assert start.running(base) == []


def test_the_owner_ends_with_its_folder(base: Path, board: PtyLine) -> None:
    with owned(base, str(board.path)) as client:
        pid = client.status().pid
        client.place.folder.rename(tmp := base / "moved")
        until(lambda: procs.identify(pid) is None)
        assert (tmp / "events.jsonl").exists()


def test_nothing_is_lost_of_much(client: LineClient, board: PtyLine) -> None:
    """Several megabytes at full speed, to a quick reader, a slow one, and the record."""
    block = bytes(range(256)) * 256
    total = 8 << 20
    slow = another(client)
    slow.follow(0)
    client.follow(0)

    def send() -> None:
        left = total
        while left:
            left -= os.write(board.master, block[: min(left, len(block))])

    sender = threading.Thread(target=send)
    sender.start()
    expected = hashlib.sha256(block * (total // len(block))).hexdigest()
    try:
        assert hashlib.sha256(read_until(client, total)).hexdigest() == expected
        assert hashlib.sha256(read_until(slow, total)).hexdigest() == expected
    finally:
        sender.join(60)
        slow.close()
    assert client.record.end == total


def test_what_is_typed_is_not_recorded(client: LineClient, board: PtyLine) -> None:
    client.acquire("login")
    client.write(b"s3cret\r")
    assert os.read(board.master, 100) == b"s3cret\r"
    client.note("power", action="on")
    for path in client.place.folder.rglob("*"):
        if path.is_file():
            assert b"s3cret" not in path.read_bytes(), path
    assert [json.loads(line)["event"] for line in client.place.events.read_text().splitlines()] == [
        "opened",
        "leased",
        "power",
    ]


def test_who_does_not_read_holds_up_nobody(client: LineClient, board: PtyLine) -> None:
    """Neither a follower nor a console whose terminal stands still (Ctrl-S)."""
    total = 16 << 20
    with another(client) as stalled, another(client) as console:
        stalled.follow()
        console.acquire("console")
        console.follow()
        client.follow()

        def talk() -> None:
            piece = bytes(range(33, 97)) * 256
            for _ in range(total // len(piece)):
                rest = piece
                while rest:
                    rest = rest[os.write(board.master, rest) :]

        talking = threading.Thread(target=talk, daemon=True)
        talking.start()
        # What the board says is taken from it and reaches who reads.
        assert len(read_until(client, total, timeout_s=120)) == total
        talking.join(30)
        assert not talking.is_alive()
        assert client.status().end == total
        # And those that stood still go on where they were.
        assert len(read_until(stalled, total, timeout_s=120)) == total
        console.write(b"x")
        assert len(read_until(console, total, timeout_s=120)) == total
