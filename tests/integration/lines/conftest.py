"""Lines through Debian's own programs: socat makes the wires, ser2net is the console server."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from labctl.transport.lines.base import Line
from labctl.transport.lines.opening import open_line
from labctl.transport.lines.settings import LineSettings


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Wait until ``condition`` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


@dataclass
class Wire:
    """A pair of pseudo-terminals: ``port`` is the computer's end, ``board`` the board's."""

    port: Path
    board: Path
    process: "subprocess.Popen[bytes]"

    def unplug(self) -> None:
        """End it; both ends are hung up, and gone."""
        # Not by SIGTERM: socat's handler cleans up, and now and then waits for itself for ever.
        self.process.kill()
        self.process.wait(20)
        for end in (self.port, self.board):
            end.unlink(missing_ok=True)

    def open_board(self) -> int:
        """Return a descriptor of the board's end."""
        return os.open(self.board, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[Callable[[], Wire]]:
    """Return a function that makes a wire, always with the same names."""
    if not shutil.which("socat"):
        pytest.skip("socat is not installed: apt install socat")
    made: list[Wire] = []

    def start() -> Wire:
        ends = [tmp_path / "port", tmp_path / "board"]
        for end in ends:
            end.unlink(missing_ok=True)
        # socat's own buffer is 8 KiB; larger ones only make it faster.
        process = subprocess.Popen(
            ["socat", "-b65536", *(f"pty,raw,echo=0,link={end}" for end in ends)]
        )
        wire = Wire(*ends, process)
        made.append(wire)
        until(lambda: all(end.exists() for end in ends), "socat made no terminals")
        return wire

    yield start
    for wire in made:
        wire.unplug()


@pytest.fixture
def wire(plug: Callable[[], Wire]) -> Wire:
    """Return a wire."""
    return plug()


@pytest.fixture
def ser2net(tmp_path: Path) -> Iterator[Callable[[str, Path], int]]:
    """Return a function that serves a port with ser2net and returns its TCP port.

    Its first argument is what comes before ``tcp`` in ser2net's accepter: ``telnet(rfc2217),`` or
    nothing for a raw port.
    """
    if not shutil.which("ser2net"):
        pytest.skip("ser2net is not installed: apt install ser2net")
    running: list[subprocess.Popen[bytes]] = []

    def start(protocol: str, device: Path) -> int:
        number = free_port()
        configuration = tmp_path / f"ser2net-{number}.yaml"
        configuration.write_text(
            f"connection: &line\n"
            f"  accepter: {protocol}tcp,127.0.0.1,{number}\n"
            f"  connector: serialdev,{device},115200n81,local\n"
        )
        log = (tmp_path / f"ser2net-{number}.log").open("wb")
        process = subprocess.Popen(
            ["ser2net", "-n", "-c", str(configuration)], stdout=log, stderr=log
        )
        log.close()
        running.append(process)
        # Without connecting, which would open the device: /proc/net/tcp, state 0A is LISTEN.
        wanted = f"0100007F:{number:04X} 00000000:0000 0A"
        until(lambda: wanted in Path("/proc/net/tcp").read_text(), "ser2net does not listen")
        return number

    yield start
    for process in running:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)


@pytest.fixture
def opened() -> Iterator[Callable[..., Line]]:
    """Return `open_line` with usual settings; lines are closed with the test."""
    lines: list[Line] = []

    def start(url: str, settings: LineSettings | None = None) -> Line:
        lines.append(open_line(url, settings or LineSettings()))
        return lines[-1]

    yield start
    for line in lines:
        line.close()
