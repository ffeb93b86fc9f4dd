"""Raw TCP ports, UNIX sockets and commands as lines."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labctl import procs
from labctl.errors import LabctlError, UnreachableError
from labctl.transport.lines.base import Line, LineGoneError, UnsupportedError
from labctl.transport.lines.opening import open_line
from labctl.transport.lines.settings import LineSettings

Open = Callable[[str], Line]


@pytest.fixture
def opened() -> Iterator[Open]:
    lines: list[Line] = []

    def open_it(url: str) -> Line:
        lines.append(open_line(url, LineSettings(), deadline_s=5))
        return lines[-1]

    yield open_it
    for line in lines:
        line.close()


def receive(line: Line, count: int) -> bytes:
    got = b""
    end = time.monotonic() + 10
    while len(got) < count:
        data = line.read(1 << 16)
        got += data
        if not data:
            assert select.select([line], [], [], max(end - time.monotonic(), 0))[0], got
    return got


def until_gone(line: Line) -> str:
    with pytest.raises(LineGoneError) as caught:
        receive(line, 1 << 30)
    return str(caught.value)


@pytest.fixture
def tcp() -> Iterator[tuple[socket.socket, str]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"socket://127.0.0.1:{listener.getsockname()[1]}"


def test_every_byte_passes_both_ways(opened: Open, tcp: tuple[socket.socket, str]) -> None:
    listener, url = tcp
    line = opened(url)
    board, _ = listener.accept()
    every = bytes(range(256))
    assert line.read(10) == b""
    assert line.write(every) == 256
    assert board.recv(1000) == every
    board.sendall(every)
    assert receive(line, 256) == every
    board.close()
    assert "closed by the other side" in until_gone(line)


def test_a_full_connection_takes_what_it_can(opened: Open, tcp: tuple[socket.socket, str]) -> None:
    listener, url = tcp
    line = opened(url)
    board, _ = listener.accept()
    total = 0
    while taken := line.write(b"x" * 65536):
        total += taken
        assert total < 1 << 28
    assert total > 0
    board.close()


def test_keystrokes_go_at_once_and_a_dead_peer_is_looked_for(
    opened: Open, tcp: tuple[socket.socket, str]
) -> None:
    line = opened(tcp[1])
    there = socket.socket(fileno=os.dup(line.fileno()))
    assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert there.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    there.close()


def test_a_server_that_turns_us_away_is_quoted(
    opened: Open, tcp: tuple[socket.socket, str]
) -> None:
    listener, url = tcp
    line = opened(url)
    board, _ = listener.accept()
    board.sendall(b"Port \x1b[31malready in use\r\n")
    board.close()
    assert "closed by the other side at once, with the words: Port already in use" in until_gone(
        line
    )


def test_sockets_have_no_rate_and_no_break(opened: Open, tcp: tuple[socket.socket, str]) -> None:
    line = opened(tcp[1])
    for change in (
        lambda: line.set_baud(9600),
        lambda: line.send_break(0.1),
        lambda: line.set_signals(dtr=True),
    ):
        with pytest.raises(UnsupportedError, match="this kind of line"):
            change()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("socket://127.0.0.1:1", "nobody listens there"),
        ("rfc2217://127.0.0.1:1", "nobody listens there"),
        ("unix:/no/such/socket", "there is no such socket"),
    ],
)
def test_what_does_not_listen_is_unreachable(url: str, said: str) -> None:
    with pytest.raises(UnreachableError, match=said):
        open_line(url, LineSettings(), deadline_s=5)


def test_a_unix_socket_whose_path_is_longer_than_the_kernel_takes(
    opened: Open, tmp_path: Path
) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        directory = os.open(folder, os.O_PATH)
        listener.bind(f"/proc/self/fd/{directory}/s")
        os.close(directory)
        with pytest.raises(UnreachableError, match="nobody listens there"):
            opened(f"unix:{folder}/s")
        listener.listen()
        line = opened(f"unix:{folder}/s")
        board, _ = listener.accept()
        board.sendall(b"=> ")
        assert receive(line, 3) == b"=> "
        board.close()
        assert "closed by the other side" in until_gone(line)


def test_a_command_is_a_line(opened: Open) -> None:
    line = opened("exec:exec cat")
    every = bytes(range(256))
    assert line.write(every) == 256
    assert receive(line, 256) == every
    with pytest.raises(UnsupportedError):
        line.send_break(0.1)


def test_a_command_that_ends_says_how_and_its_last_words(opened: Open) -> None:
    said = until_gone(opened("exec:echo first >&2; echo 'no such \x1b[1mport' >&2; exit 7"))
    assert "the command has ended, exit status 7: no such port; try the command" in said
    assert "\x1b" not in said
    assert "ended by signal 15" in until_gone(opened("exec:kill $$"))
    assert "exit status 127: sh: 1: no-such-program: not found" in until_gone(
        opened("exec:no-such-program")
    ).replace("/bin/", "")


def test_a_command_may_complain_without_end(opened: Open) -> None:
    """Its standard error is read although nobody wants it; else it would stand still."""
    line = opened("exec:head -c 1000000 /dev/zero >&2; echo done")
    assert receive(line, 5) == b"done\n"


def children(line: Line) -> list[procs.ProcessId]:
    """Return the processes that a line said the numbers of."""
    numbers = receive(line, 4).split()
    found = [procs.identify(int(number)) for number in numbers]
    return [one for one in found if one]


STUBBORN = "exec:trap '' HUP; sleep 600 & echo $$ $!; trap '' TERM; wait"


def test_closing_ends_all_its_processes(opened: Open) -> None:
    line = opened(STUBBORN)
    processes = children(line)
    assert len(processes) == 2
    line.close()
    line.close()
    for process in processes:
        assert procs.wait_gone(process, timeout_s=10)


def test_it_does_not_outlive_an_owner_that_is_killed() -> None:
    program = (
        "import sys, time, select\n"
        "from labctl.transport.lines.opening import open_line\n"
        "from labctl.transport.lines.settings import LineSettings\n"
        "line = open_line(sys.argv[1], LineSettings())\n"
        "select.select([line], [], [], 20)\n"
        "print(line.read(100).decode(), flush=True)\n"
        "time.sleep(600)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", program, STUBBORN], stdout=subprocess.PIPE)
    assert owner.stdout
    numbers = owner.stdout.readline().split()
    processes = [one for number in numbers if (one := procs.identify(int(number)))]
    assert len(processes) == 2
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    for process in processes:
        assert procs.wait_gone(process, timeout_s=10)


def test_a_host_needs_a_session() -> None:
    with pytest.raises(LabctlError, match="cannot be opened from here"):
        open_line("ssh:box:/dev/ttyUSB0", LineSettings())


def test_a_command_that_closes_its_output_and_stays_keeps_nobody_waiting(opened: Open) -> None:
    line = opened("exec:exec >&- 0>&- 1>&-; sleep 60")
    turns = 0
    deadline = time.monotonic() + 30
    with pytest.raises(LineGoneError, match="closed its output"):
        while time.monotonic() < deadline:
            assert line.read(100) == b""
            turns += 1
    # Its owner came by for others meanwhile: a read that waits does so once.
    assert turns > 20
