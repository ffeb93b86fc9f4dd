"""linux-block's way over SSH, against a real OpenSSH server, onto a file."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sshd_server import Server

from labctl.boards.flash.linux.by_ssh import SshWay
from labctl.boards.flash.linux.control import SshControl
from labctl.boards.flash.linux.ways import Job
from labctl.boards.flash.method import FlashError
from labctl.boards.flash.source import Source, memory_source
from labctl.errors import LabctlError
from labctl.transport.ssh import Access, connect

SIZE = 3 << 20


@pytest.fixture
def control(serve: Callable[..., Server], my_key: Path) -> Iterator[SshControl]:
    server = serve()
    server.let_in(my_key)
    target = server.target(identity_files=(str(my_key),))
    made = SshControl("box", connect(target, Access(connect_timeout=20.0)))
    yield made
    made.close()


def job(control: SshControl, device: Path, source: Source, **more: Any) -> Job:
    facts: dict[str, Any] = {
        "bench": None, "control": control, "device": str(device), "source": source,
        "algorithm": "sha256", "offset": 0, "tools": frozenset({"fsync"}), "scratch": "",
    }  # fmt: skip
    return Job(**{**facts, **more})


def test_a_script_runs_and_its_words_come_back(control: SshControl) -> None:
    assert control.run("echo one; echo two >&2", timeout=20) == "one\ntwo\n"
    with pytest.raises(FlashError, match=r"dd: .*no/such"):
        control.run("dd if=/no/such of=/dev/null", timeout=20)


def test_bytes_go_where_they_belong(control: SshControl, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(SIZE)
    device = tmp_path / "a device"
    device.write_bytes(b"\xa5" * (SIZE + 8192))
    source = memory_source(tmp_path / "image", content)
    pieces = source.survey("sha256")
    way = SshWay(job(control, device, source, offset=4096))
    assert way.why_not() is None
    reached: list[int] = []
    way.send([list(pieces)], reached.append)
    assert device.read_bytes() == b"\xa5" * 4096 + content + b"\xa5" * 4096
    assert reached == [SIZE]


def test_a_full_device_says_so(control: SshControl, tmp_path: Path) -> None:
    source = memory_source(tmp_path / "image", b"x" * 100_000)
    way = SshWay(job(control, Path("/dev/full"), source))
    with pytest.raises(FlashError, match=r"No space left|write error|fsync"):
        way.send([list(source.survey("sha256"))], lambda done: None)


def test_an_abort_ends_what_runs_there(control: SshControl, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    thread = threading.Thread(target=_run_quietly, args=(control, mark), daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not (mark.exists() and mark.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process = psutil.Process(int(mark.read_text()))
    assert control.stop()
    process.wait(20)
    thread.join(20)
    assert not thread.is_alive()
    assert control.run("echo on", timeout=20) == "on\n"


def _run_quietly(control: SshControl, mark: Path) -> None:
    try:
        # The number of a program that the script started, as dd is.
        control.run(f"sh -c 'echo $$ >{mark}; exec sleep 300'; sleep 300", timeout=60)
    except LabctlError:
        return


def test_a_connection_that_breaks_leaves_no_writer(
    control: SshControl, serve: Callable[..., Server], tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)  # a device that takes nothing
    pid = tmp_path / "pid"
    script = f"echo $$ >{pid}; exec dd of={fifo} bs=4096 2>/dev/null"
    stream, _ = control._session.start_shell()
    stream.send(f"{script}\n".encode())
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        deadline = time.monotonic() + 30
        while not (pid.exists() and pid.read_text().strip()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process = psutil.Process(int(pid.read_text()))
        control.close()
        process.wait(20)
    finally:
        os.close(reader)
