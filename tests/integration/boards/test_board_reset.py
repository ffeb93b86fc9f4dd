"""labctl board reset: of the virtual board, and of a port that cannot."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lines import PtyLine
from virtual_lab import Lab, MakeLab

from labctl.boards.owner import start

INVENTORY = """\
version: 1
boards:
  arm64: {model: qemu-arm64, virtual: true}
"""


@pytest.fixture(scope="module")
def board(make_lab: MakeLab) -> Iterator[Lab]:
    """A lab whose board arm64 has been switched on."""
    lab = make_lab(INVENTORY)
    lab.labctl("lab", "up", "arm64")
    yield lab
    lab.down()


@pytest.mark.vm
def test_by_its_power(board: Lab) -> None:
    said = board.json("board", "reset", "arm64")
    assert said["schema"] == "labctl.board-reset/1"
    assert (said["way"], said["proved"]) == ("power", True)
    assert said["evidence"].startswith("U-Boot 20")


@pytest.mark.vm
@pytest.mark.parametrize("where", ["uboot", "linux"])
def test_by_a_command_of_the_shell_that_is_there(board: Lab, where: str) -> None:
    board.labctl("board", "boot", "arm64", where)
    done = board.labctl("board", "reset", "arm64", "--soft")
    assert "arm64: reset (soft); after" in done.stdout
    assert "it said: U-Boot 20" in done.stdout
    assert f"{where}: reset" in done.stderr or f"{where}: reboot -f" in done.stderr
    # Memory alone would have kept it.
    board.labctl("board", "boot", "arm64", "uboot")


@pytest.mark.vm
def test_not_by_signals_that_it_has_not(board: Lab) -> None:
    done = board.labctl("board", "reset", "arm64", "--signals", check=False)
    assert done.returncode == 2
    assert "no steps on DTR and RTS that reset it" in done.stderr
    done = board.labctl("board", "reset", "arm64", "--signals", "--soft", check=False)
    assert done.returncode == 2


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Lab]:
    """A lab with boards on a pseudo-terminal, which has no DTR and RTS."""
    line = PtyLine(tmp_path)
    lab = Lab(
        tmp_path,
        inventory=f"version: 1\nboards:\n  esp: {{model: esp32-devkitc, line: {line.path}, "
        "settings: {line: {dtr: null, rts: null}}}\n"
        f"  pi: {{model: raspberry-pi-4, line: {line.path}, "
        "power: {kind: manual, where: shelf}}\n",
    )
    yield lab
    with lab.environment():
        for place in start.running(tmp_path / "state/labctl/lines"):
            start.stop(place)
    line.unplug()


def test_a_line_without_signals_says_so(bare: Lab) -> None:
    done = bare.labctl("board", "reset", "esp", check=False)
    assert done.returncode == 1
    assert "DTR and RTS" in done.stderr


def test_without_a_terminal_nobody_is_asked(bare: Lab) -> None:
    done = bare.labctl("board", "power", "pi", "on", check=False)
    assert done.returncode == 1
    assert "only a person can switch it (shelf), and there is nobody to ask" in done.stderr
    assert "run this on a terminal" in done.stderr


def test_on_a_terminal_a_person_is_asked(bare: Lab) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        bare.command("board", "power", "pi", "on"), env=bare.env, stdin=slave, stdout=slave,
        stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    try:
        seen = b""
        deadline = time.monotonic() + 60
        while b"then press Enter" not in seen:
            ready, _, _ = select.select([master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, seen
            seen += os.read(master, 4096)
        assert b"pi: Switch it on (shelf)" in seen
        os.write(master, b"\n")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
