"""labctl board and labctl console, typed as a person does, on the virtual board."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from virtual_lab import Lab, MakeLab, until

from labctl import procs
from labctl.boards.owner import start

pytestmark = pytest.mark.vm

INVENTORY = """\
version: 1
boards:
  arm64: {model: qemu-arm64, virtual: true}
"""


@pytest.fixture(scope="module")
def board(make_lab: MakeLab) -> Iterator[Lab]:
    """A lab whose board arm64 runs Linux."""
    lab = make_lab(INVENTORY)
    lab.labctl("lab", "up", "arm64")
    lab.labctl("board", "boot", "arm64", "linux")
    yield lab
    lab.down()


def run(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    return lab.labctl("board", "run", "arm64", *words, check=False)


def test_run_prints_the_output_and_ends_with_the_code(board: Lab) -> None:
    done = run(board, "uname -sm; (exit 7)")
    assert (done.returncode, done.stdout) == (7, "Linux aarch64\n")
    said = board.json("board", "run", "arm64", "echo hi")
    assert said["schema"] == "labctl.board-run/1"
    assert (said["output"], said["exit_code"], said["checked"]) == ("hi\n", 0, True)


def test_the_wrong_shell_is_refused_with_what_to_do(board: Lab) -> None:
    done = run(board, "--in", "uboot", "version")
    assert done.returncode == 1
    assert "labctl board boot arm64 uboot" in done.stderr


def test_state_is_proved(board: Lab) -> None:
    said = board.json("board", "state", "arm64")
    assert (said["state"], said["proved"]) == ("shell", True)


def test_a_held_line_says_who_and_since_when(board: Lab) -> None:
    holder = board.start("board", "run", "arm64", "sleep 60", "--timeout", "90")
    try:
        until(lambda: board.labctl("board", "release", "arm64", check=False).returncode == 4)
        done = run(board, "true")
        assert done.returncode == 4
        assert re.search(r"held by \S+@\S+ \(pid \d+\) with 'board run' since \d\d:", done.stderr)
        former = board.json("board", "release", "arm64", "--force")["lease"]
        assert former["pid"] == holder.pid
        output, _ = holder.communicate(timeout=60)
        assert "taken by force" in output
    finally:
        holder.kill()
        holder.wait()
    # What the board was doing is still going on: that is found out and ended.
    board.labctl("board", "state", "arm64", "--recover")
    assert run(board, "echo on").stdout == "on\n"


def test_the_console_in_two_terminals(board: Lab) -> None:
    master, slave = pty.openpty()
    typing = subprocess.Popen(
        board.command("console", "arm64"), env=board.env, stdin=slave, stdout=slave, stderr=slave,
        start_new_session=True,
    )  # fmt: skip
    watching = board.start("console", "--watch", "arm64")
    try:
        seen = _read_until(master, b"Ctrl-]")
        os.write(master, b"echo con$((40+2))sole\r")
        seen = _read_until(master, b"con42sole")
        os.write(master, b"\x1dq")
        assert typing.wait(20) == 0, seen
        watching.send_signal(signal.SIGINT)
        output, _ = watching.communicate(timeout=20)
        assert "con42sole" in output
        assert watching.returncode == 130
    finally:
        for process in (typing, watching):
            process.kill()
            process.wait()
        os.close(master)
        os.close(slave)
    log = board.labctl("console", "log", "arm64", "--since", "5m", "--grep", "^con42sole")
    assert log.stdout == "con42sole\n"


def _read_until(descriptor: int, wanted: bytes) -> bytes:
    seen = b""
    deadline = time.monotonic() + 30
    while wanted not in seen:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, seen
        seen += os.read(descriptor, 4096)
    return seen


def test_history_since_boot_begins_at_the_boot_loader(board: Lab) -> None:
    lines = board.json("console", "log", "arm64", "--since", "boot")["lines"]
    text = "\n".join(line["text"] for line in lines)
    assert "U-Boot 20" in text[:2000]
    assert "login:" in text
    assert [line["offset"] for line in lines] == sorted(line["offset"] for line in lines)


def test_a_power_cycle_makes_its_memory_new(board: Lab) -> None:
    board.labctl("board", "boot", "arm64", "uboot")
    assert run(board, "--in", "uboot", "setenv kept yes; printenv kept").stdout == "kept=yes\n"
    board.labctl("board", "power", "arm64", "cycle")
    # It counts now, or has booted already: either way it comes to the prompt.
    board.labctl("board", "boot", "arm64", "uboot")
    assert run(board, "--in", "uboot", "printenv kept").returncode == 1


def test_the_network_boots_too(board: Lab) -> None:
    board.labctl("board", "boot", "arm64", "uboot")
    done = run(
        board, "--in", "uboot", "--timeout", "120",
        "setenv autoload no; dhcp; tftpboot ${kernel_addr_r} vmlinuz",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "Bytes transferred" in done.stdout


def test_a_killed_board_is_seen_and_started_again(board: Lab) -> None:
    status = {one["name"]: one for one in board.json("lab", "status")["machines"]}
    os.kill(status["arm64"]["pid"], signal.SIGKILL)
    until(lambda: board.states()["arm64"] == "crashed")
    board.labctl("lab", "up", "arm64")
    board.labctl("board", "boot", "arm64", "uboot")
    assert run(board, "--in", "uboot", "echo again").stdout == "again\n"


def test_down_leaves_nothing(board: Lab) -> None:
    with board.environment():
        owners = start.running(board.folder.parents[1] / "lines")
    assert owners
    process = owners[0].read_process()
    assert process is not None
    board.down()
    assert not procs.alive(process)
    assert board.states() == {"arm64": "down"}
    done = run(board, "true")
    assert done.returncode == 3
    assert "labctl lab up arm64" in done.stderr
    error = json.loads(board.labctl("board", "run", "arm64", "x", "--json", check=False).stdout)
    assert error["error"]["exit_code"] == 3
