"""A simulated core on a line: a client, readers, the console's owner, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from virtual_lab import MakeLab

FPGA = Path(__file__).parents[3] / "fpga"
pytestmark = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog is not installed: apt install iverilog"
)
BRIDGE = [sys.executable, "-m", "labctl", "fpga", "bridge"]
DEADLINE_S = 120.0


@contextlib.contextmanager
def bridged(core: str, link: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """A bridge that is ready; it is ended as a person would."""
    command = [*BRIDGE, core, "-C", str(FPGA), "--link", str(link), "--json", *more]
    running = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert running.stderr is not None
        assert select.select([running.stderr], [], [], DEADLINE_S)[0], "it does not get ready"
        ready = running.stderr.readline()
        assert f"{core} is on {link}" in ready, ready + running.stderr.read()
        yield running
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGINT)
        running.communicate(timeout=DEADLINE_S)


def children(pid: int) -> list[int]:
    """The simulation is a child of the bridge (proc(5))."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def read(descriptor: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        assert select.select([descriptor], [], [], DEADLINE_S)[0], f"{data!r} and no more"
        data += os.read(descriptor, count - len(data))
    return data


def test_a_product_and_a_network_over_the_line(tmp_path: Path) -> None:
    link = tmp_path / "engine"
    with bridged("matmul_uart", link, "-p", "N=2") as running:
        done = subprocess.run(
            [sys.executable, str(FPGA / "matmul_uart/client.py"), str(link), "3", "5", "2"],
            capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "3x5 times 5x2 on 2x2 cells: equal to numpy's" in done.stdout
        assert "a network of two layers: equal to numpy's" in done.stdout
        inside = children(running.pid)
        running.send_signal(signal.SIGINT)
        said, _ = running.communicate(timeout=DEADLINE_S)
    assert running.returncode == 130
    document = json.loads(said)
    assert document["schema"] == "labctl.fpga-bridge/1"
    assert document["ended"] == "interrupted"
    assert document["to_core"] > 100
    assert not link.is_symlink()
    assert inside
    assert not any(Path(f"/proc/{pid}").exists() for pid in inside)


def test_the_estimator_over_the_line(tmp_path: Path) -> None:
    link = tmp_path / "estimator"
    with bridged("soc_uart", link):
        done = subprocess.run(
            [sys.executable, str(FPGA / "soc_uart/client.py"), str(link), "70"],
            capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip
    assert "sample    0: charge 0.6" in done.stdout, done.stdout + done.stderr
    assert "at the end off by" in done.stdout


def test_any_number_may_open_it_and_nothing_old_is_read(tmp_path: Path) -> None:
    link = tmp_path / "echo"
    with bridged("uart", link, "--seconds", "600") as running:
        first, second = (os.open(link, os.O_RDWR | os.O_NOCTTY) for _ in range(2))
        os.write(first, b"one")
        assert read(second, 3) == b"one"
        os.close(first)
        os.write(second, bytes(range(256)))
        assert read(second, 256) == bytes(range(256))
        os.close(second)
        # Another bridge does not take the link away from this one.
        done = subprocess.run(
            [*BRIDGE, "uart", "-C", str(FPGA), "--link", str(link)],
            capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        assert done.returncode == 4
        assert "another labctl is working on it" in done.stderr
        # Whoever kills it leaves no simulation behind.
        inside = children(running.pid)
        running.kill()
        running.wait(DEADLINE_S)
        for pid in inside:
            with contextlib.suppress(ProcessLookupError):
                descriptor = os.pidfd_open(pid)
                assert select.select([descriptor], [], [], DEADLINE_S)[0]
                os.close(descriptor)
    assert link.is_symlink()
    # What a killed one left is no obstacle.
    with bridged("uart", link, "--seconds", "0.1", "--baud", "9600") as running:
        said, _ = running.communicate(timeout=DEADLINE_S)
    assert running.returncode == 0
    assert json.loads(said)["ended"] == "deadline"


def test_a_board_of_the_inventory_is_a_simulation(make_lab: MakeLab, tmp_path: Path) -> None:
    line = f"exec:{sys.executable} -m labctl fpga bridge uart -C {FPGA} --stdio"
    lab = make_lab(f"version: 1\nboards:\n  rtl: {{model: icebreaker, line: '{line}'}}\n")
    script = tmp_path / "echo.yaml"
    script.write_text("timeout: 60\nsteps:\n  - sendline: hello\n  - expect: 'hello'\n")
    said = lab.json("board", "expect", "rtl", str(script))
    assert said["ok"], said
    assert "hello" in lab.labctl("console", "log", "rtl").stdout


def test_what_has_no_line_is_refused() -> None:
    done = subprocess.run(
        [*BRIDGE, "crc", "-C", str(FPGA)],
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "its core.yaml says nothing of a serial line" in done.stderr
    assert "uart" in done.stderr
