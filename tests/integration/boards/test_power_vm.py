"""Power of a virtual board, against a real QEMU and its monitor."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.boards.power.switch import Power
from labctl.errors import LabctlError
from labctl.transport.qmp import execute

QEMU = shutil.which("qemu-system-x86_64")
pytestmark = pytest.mark.skipif(QEMU is None, reason="qemu-system-x86_64 is not installed")


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Path]:
    """Return the monitor of an empty machine that is off."""
    path = tmp_path / "qmp.sock"
    assert QEMU is not None
    process = subprocess.Popen(
        [QEMU, "-S", "-no-shutdown", "-display", "none", "-nodefaults", "-m", "16",
         "-qmp", f"unix:{path},server=on,wait=off"]
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not answers(path):
        assert process.poll() is None, "QEMU ended"
        assert time.monotonic() < deadline, "QEMU does not begin"
        time.sleep(0.05)
    yield path
    process.terminate()
    process.wait(30)


def answers(path: Path) -> bool:
    try:
        execute(path, "query-status")
    except LabctlError:
        return False
    return True


def power(monitor: Path) -> Power:
    return Power("arm64", {"kind": "vm", "monitor": str(monitor)})


def status(monitor: Path) -> object:
    answer = execute(monitor, "query-status")
    assert isinstance(answer, dict)
    return answer["status"]


def test_on_off_and_cycle(monitor: Path) -> None:
    one = power(monitor)
    assert status(monitor) == "prelaunch"
    assert one.get() is False
    one.on()
    assert one.get() is True
    one.on()
    assert status(monitor) == "running"
    one.cycle()
    assert one.get() is True
    one.off()
    assert status(monitor) == "paused"
    assert one.get() is False
    one.off()
    assert one.get() is False


def test_machine_that_ended(monitor: Path) -> None:
    execute(monitor, "quit")
    with pytest.raises(LabctlError, match=r"power of arm64 \(vm\): "):
        power(monitor).get()


def test_monitor_that_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "qmp.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        one = Power("arm64", {"kind": "vm", "monitor": str(path), "deadline_s": 1})
        with pytest.raises(LabctlError, match="does not answer"):
            one.on()
