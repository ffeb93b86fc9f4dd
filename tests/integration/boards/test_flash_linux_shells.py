"""linux-block through real shells on a pseudo-terminal, onto a file that stands for a device."""

from __future__ import annotations

import gzip
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ptychannel import Lossy, PtyChannel, program
from test_session_shells import SHELLS, session

from labctl.boards.flash.image import read_image
from labctl.boards.flash.linux import control as control_module
from labctl.boards.flash.linux import device as device_module
from labctl.boards.flash.linux import ways
from labctl.boards.flash.method import ABORT_S, FlashError, Progress, RefusedError, Target
from labctl.boards.flash.methods import linux_block
from labctl.boards.flash.methods.linux_block import LinuxBlock
from labctl.boards.flash.source import PIECE
from labctl.boards.state import State

SIZE = 3 * PIECE


@pytest.fixture(params=sorted(SHELLS))
def channel(request: pytest.FixtureRequest) -> Iterator[PtyChannel]:
    command = SHELLS[request.param]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    with program(command) as channel:
        yield channel


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file, which the board is made to call a device."""
    path = tmp_path / "device"
    path.write_bytes(random.Random(1).randbytes(SIZE))

    def parse(name: str, text: str) -> device_module.Device:
        real = device_module.parse_device(name, text)
        assert real.real == str(path)
        return device_module.Device(name, str(path), is_block=True, whole=True, size=SIZE)

    monkeypatch.setattr(linux_block, "parse_device", parse)
    return path


def method(channel: Any, device: Path, via: str, **config: Any) -> LinuxBlock:
    bench: Any = SimpleNamespace(
        name="box", line=channel, linux=session(channel), board=SimpleNamespace(folder=None),
        state=lambda: SimpleNamespace(state=State.SHELL), boot=lambda target: None,
    )  # fmt: skip
    target = Target("disk", "linux-block", {"device": str(device), "via": [via], **config})
    return LinuxBlock(bench, target, lambda text: None)


def flash(one: LinuxBlock, image: Path, *, force: bool = False) -> int:
    """Flash as the job does; return the bytes that were to be sent."""
    one.rewrite = force
    segments = one.layout(read_image(image))
    one.connect()
    if one.same(segments).same and not force:
        one.finish()
        return 0
    route = one.route(segments)
    one.write(segments, Progress())
    assert one.verify(segments, Progress()).same
    one.finish()
    return route.payload


@pytest.mark.parametrize("via", ["network", "console"])
def test_what_differs_is_written_and_nothing_else(
    channel: PtyChannel, device: Path, tmp_path: Path, via: str
) -> None:
    content = bytearray(device.read_bytes()[: 2 * PIECE + 1000])
    content[PIECE + 5000 : PIECE + 9000] = random.Random(2).randbytes(4000)
    content[-3:] = b"end"
    image = tmp_path / "disk.img"
    image.write_bytes(content)
    behind = device.read_bytes()[len(content) :]
    sent = flash(method(channel, device, via, server="127.0.0.1"), image)
    assert sent == {"network": PIECE, "console": 65536}[via] + 1000
    assert device.read_bytes() == content + behind
    assert flash(method(channel, device, via, server="127.0.0.1"), image) == 0


def test_zeros_are_made_on_the_board(channel: PtyChannel, device: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk.img.gz"
    image.write_bytes(gzip.compress(b"head" + bytes(2 * PIECE - 4)))
    assert flash(method(channel, device, "console"), image) == 65536
    assert device.read_bytes()[: 2 * PIECE] == b"head" + bytes(2 * PIECE - 4)


def test_an_offset_is_kept(channel: PtyChannel, device: Path, tmp_path: Path) -> None:
    before = device.read_bytes()
    content = random.Random(4).randbytes(70_000)
    image = tmp_path / "part.img"
    image.write_bytes(content)
    flash(method(channel, device, "network", server="127.0.0.1", offset=4096), image)
    assert device.read_bytes() == before[:4096] + content + before[4096 + 70_000 :]


def test_what_is_too_large_is_refused(channel: PtyChannel, device: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(SIZE + 1))
    before = device.read_bytes()
    with pytest.raises(RefusedError, match="the image needs"):
        flash(method(channel, device, "console"), image)
    assert device.read_bytes() == before


def test_a_board_that_cannot_reach_us_says_so(
    channel: PtyChannel, device: Path, tmp_path: Path
) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"\xff\0" * 500)
    one = method(channel, device, "network", server="127.0.0.9")
    # The server listens at another address than the board is told.
    from labctl.boards.flash.linux import network

    real = network.PieceServer
    network.PieceServer = lambda address: real("127.0.0.1")  # type: ignore[assignment,misc]
    try:
        with pytest.raises(FlashError, match="no way to get") as raised:
            flash(one, image)
    finally:
        network.PieceServer = real  # type: ignore[misc]
        one.abort()
    assert "127.0.0.9" in raised.value.action


def test_without_base64_and_gzip_octal_numbers_do(
    channel: PtyChannel, device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = device.read_bytes()[:PIECE]
    image = tmp_path / "disk.img"
    image.write_bytes(content[:100] + b"%\\'\n\0changed" + content[112:])
    one = method(channel, device, "console")
    segments = one.layout(read_image(image))
    one.connect()
    one._tools -= {"base64", "gzip"}
    monkeypatch.setattr(one, "connect", lambda: None)
    flash(one, image)
    assert device.read_bytes()[:PIECE] == image.read_bytes()
    assert segments


def test_a_line_that_loses_bytes_costs_time_only(
    channel: PtyChannel, device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labctl.boards.flash.linux import by_console

    monkeypatch.setattr(by_console, "_LEAST_S", 4.0)
    monkeypatch.setattr(by_console, "_LINE_S", 0.05)
    content = device.read_bytes()[: 3 * 65536]
    image = tmp_path / "disk.img"
    image.write_bytes(random.Random(9).randbytes(3000) + content[3000:])
    typed = control_module.ConsoleControl.type_in
    calls = 0

    def type_in(self: Any, script: str, lines: Any, *, timeout: float) -> str:
        nonlocal calls
        calls += 1
        channel.inward = Lossy(0.001, 1) if calls == 1 else (lambda data: data)
        try:
            return typed(self, script, lines, timeout=timeout)
        finally:
            channel.inward = lambda data: data

    monkeypatch.setattr(control_module.ConsoleControl, "type_in", type_in)
    flash(method(channel, device, "console"), image)
    assert device.read_bytes()[: 3 * 65536] == image.read_bytes()
    assert calls > 1


def test_an_abort_ends_what_runs(channel: PtyChannel, device: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"\xff\0")
    one = method(channel, device, "console")
    one.layout(read_image(image))
    one.connect()
    talk = one.bench.linux
    assert talk is not None
    # Begun, and not waited for, as by a person who presses Ctrl-C here.
    channel.write(b"while :; do dd if=/dev/zero of=/dev/null bs=1M count=100000; done\r")
    started = time.monotonic()
    one.abort()
    assert time.monotonic() - started < ABORT_S + 10  # a loaded machine is slow
    assert talk.run("echo on", timeout=20).output == b"on\n"


def test_deadlines_grow_with_size() -> None:
    assert ways.patience(10 << 20) > ways.patience(0) + 10
