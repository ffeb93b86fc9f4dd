"""The bridge's ends, what it carries, and what a core.yaml says of a line; no simulator."""

from __future__ import annotations

import os
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labctl.errors import BusyError, LabctlError, UsageError
from labctl.fpga.bridge import bridged_core
from labctl.fpga.bridge_ends import Terminal
from labctl.fpga.bridge_pump import Traffic, pump
from labctl.fpga.model import Project
from labctl.fpga.readers.core_file import read_core
from labctl.inventory.diagnostics import InventoryError

MakeCore = Callable[..., Path]
GOOD = "description: A wire\ntop: wire_\nsources: [rtl/wire.v]\nparameters: {A: [1, 2], B: 3}\n"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_a_line_is_the_cores_own_top_with_its_single_parameters(make_core: MakeCore) -> None:
    core = read_core(make_core(GOOD + "bridge: {bit_cycles: 4, parameters: {C: 5}}\n"))
    assert core.serial is not None
    assert (core.serial.top, core.serial.clock, core.serial.reset) == ("wire_", "clk", "rst")
    assert core.serial.parameters == {"B": 3, "C": 5}
    assert core.serial.sources == core.sources


def test_another_top_has_its_own_parameters_and_files(make_core: MakeCore) -> None:
    more = "bridge: {bit_cycles: 4, top: other, sources: [tb/*.py], reset: null}\n"
    core = read_core(make_core(GOOD + more))
    assert core.serial is not None
    assert (core.serial.top, core.serial.reset, core.serial.parameters) == ("other", None, {})
    assert [one.name for one in core.serial.sources] == ["wire.v", "test_wire.py"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bridge: {bit_cycles: 3}\n", "5:22"),
        ("bridge: {}\n", "bit_cycles"),
        ("bridge: {bit_cycles: 8, sources: [no.v]}\n", "5:35: there is no file 'no.v'"),
    ],
)
def test_mistakes_are_said_at_their_place(make_core: MakeCore, line: str, words: str) -> None:
    with pytest.raises(InventoryError) as error:
        read_core(make_core(GOOD + line))
    assert words in str(error.value)


def test_a_core_without_a_line_names_those_that_have_one(make_core: MakeCore) -> None:
    plain = read_core(make_core())
    able = read_core(make_core(GOOD + "bridge: {bit_cycles: 4}\n", name="able"))
    project = Project(Path(), (plain, able))
    assert bridged_core(project, "able") is able
    with pytest.raises(UsageError, match=r"take one that has: able"):
        bridged_core(project, "wire")
    with pytest.raises(UsageError, match="did you mean 'able'"):
        bridged_core(project, "abel")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    end = Terminal(tmp_path / "link")
    yield end
    end.close()


@pytest.fixture
def carried(terminal: Terminal) -> Iterator[tuple[socket.socket, Traffic]]:
    """The core's side of a pump to the terminal, and what it counts."""
    core, channel = socket.socketpair()
    core.settimeout(30)
    channel.setblocking(False)
    traffic = Traffic()
    worker = threading.Thread(target=pump, args=(channel, terminal, 60, traffic))
    worker.start()
    yield core, traffic
    core.close()
    worker.join(30)
    assert not worker.is_alive()
    channel.close()
    assert traffic.ended == "simulation"


def opened(tmp_path: Path) -> int:
    descriptor = os.open(tmp_path / "link", os.O_RDWR | os.O_NOCTTY)
    tty.setraw(descriptor)
    return descriptor


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def exactly(core: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += core.recv(count - len(data))
    return data


def test_more_than_either_side_holds_goes_through_whole(
    carried: tuple[socket.socket, Traffic], tmp_path: Path
) -> None:
    core, traffic = carried
    user = opened(tmp_path)
    data = os.urandom(300_000)
    # Nobody reads while it is written, on either side, so both wait for room.
    for write, read in (
        (core.send, lambda: os.read(user, 65536)),
        (lambda part: os.write(user, part), lambda: core.recv(65536)),
    ):
        writer = threading.Thread(target=send_all, args=(write, data))
        writer.start()
        got = b""
        while len(got) < len(data):
            got += read()
        writer.join(30)
        assert got == data
    os.close(user)
    # What has arrived is counted a moment later.
    until(lambda: (traffic.from_core, traffic.to_core) == (len(data), len(data)))


def send_all(write: Callable[[bytes], int], data: bytes) -> None:
    while data:
        data = data[write(data[:4096]) :]


def test_what_nobody_hears_is_lost(
    carried: tuple[socket.socket, Traffic], terminal: Terminal, tmp_path: Path
) -> None:
    core, traffic = carried
    core.sendall(b"nobody")
    until(lambda: traffic.from_core == 6)
    user = opened(tmp_path)
    os.write(user, b"x")
    assert exactly(core, 1) == b"x"
    core.sendall(b"now")
    assert os.read(user, 100) == b"now"
    os.close(user)


def test_the_link_is_one_bridges_and_no_file_is_replaced(
    terminal: Terminal, tmp_path: Path
) -> None:
    with pytest.raises(BusyError):
        Terminal(tmp_path / "link")
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(BusyError, match="something else is there already"):
        Terminal(tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "mine"
    with pytest.raises(LabctlError, match="No such file"):
        Terminal(tmp_path / "none" / "link")


def test_a_link_that_a_killed_bridge_left_is_taken_over(tmp_path: Path) -> None:
    link = tmp_path / "old"
    link.symlink_to("/dev/pts/999999")
    end = Terminal(link)
    assert str(link.readlink()) == end.device
    end.close()
    assert not link.is_symlink()
