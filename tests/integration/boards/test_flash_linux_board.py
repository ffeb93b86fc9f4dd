"""linux-block on the virtual board: its own Linux, its own disk, over its network and console."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from virtual_lab import Lab, MakeLab, until

pytestmark = pytest.mark.vm

INVENTORY = """\
version: 1
boards:
  arm64: {model: qemu-arm64, virtual: true}
"""
MIB = 1 << 20
WORDS = ("arm64", "--to", "disk", "--method", "linux-block")


@pytest.fixture(scope="module")
def board(make_lab: MakeLab) -> Iterator[Lab]:
    """A lab whose board arm64 runs Linux, from memory."""
    lab = make_lab(INVENTORY)
    lab.labctl("lab", "up", "arm64")
    lab.labctl("board", "boot", "arm64", "linux")
    yield lab
    lab.down()


def run(lab: Lab, command: str) -> str:
    return lab.labctl("board", "run", "arm64", command).stdout


def holds(lab: Lab, content: bytes) -> bool:
    """Tell whether the disk begins with ``content``, whole MiB, by a digest of the board's own."""
    said = run(lab, f"dd if=/dev/vda bs=1M count={len(content) // MIB} 2>/dev/null | sha256sum")
    return said.split()[0] == hashlib.sha256(content).hexdigest()


def make(path: Path, seed: int, size: int) -> bytes:
    content = random.Random(seed).randbytes(size)
    path.write_bytes(content)
    return content


def begin(lab: Lab, image: Path) -> subprocess.Popen[str]:
    """Start a flash and return when it writes."""
    before = begun(lab)
    process = lab.start("flash", *WORDS[:1], str(image), *WORDS[1:])
    until(lambda: begun(lab) > before or process.poll() is not None)
    assert process.poll() is None, process.communicate()[0]
    return process


def begun(lab: Lab) -> int:
    """Return how many flashes the journal of the board's line says were begun."""
    state = Path(lab.env["XDG_STATE_HOME"])
    lines = [one for path in state.rglob("events*") for one in path.read_text().splitlines()]
    return sum(json.loads(one)["event"] == "flash begun" for one in lines)


def test_a_disk_is_written_and_then_left_alone(board: Lab, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    content = make(image, 1, MIB) + bytes(7 * MIB)
    image.write_bytes(content)
    plan = board.json("flash", *WORDS[:1], str(image), *WORDS[1:], "--plan")
    assert plan["way"].startswith("HTTP")
    assert plan["steps"][0] == "unmount /boot"
    assert "/boot" in run(board, "cat /proc/mounts")
    said = board.json("flash", *WORDS[:1], str(image), *WORDS[1:])
    assert (said["written"], said["payload_bytes"]) == (True, 4 * MIB)
    assert holds(board, content)
    # What was read back came from the disk, and the old partition is gone.
    assert "vda1" not in run(board, "ls /sys/class/block")
    assert board.json("flash", *WORDS[:1], str(image), *WORDS[1:])["written"] is False


@pytest.mark.long
def test_few_changed_bytes_go_over_the_console(board: Lab, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    content = bytearray(make(image, 2, MIB))
    board.labctl("flash", *WORDS[:1], str(image), *WORDS[1:])
    content[100_000:100_010] = bytes(10)
    image.write_bytes(content)
    said = board.json("flash", *WORDS[:1], str(image), *WORDS[1:], "--via", "console")
    assert (said["written"], said["payload_bytes"]) == (True, 65536)
    assert holds(board, bytes(content))


def test_a_device_in_use_is_refused(board: Lab, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"\xff\0")
    run(board, "mkswap /dev/vda >/dev/null && swapon /dev/vda")
    try:
        done = board.labctl("flash", *WORDS[:1], str(image), *WORDS[1:], check=False)
        assert done.returncode == 1
        assert "in use as swap" in done.stderr
    finally:
        run(board, "swapoff /dev/vda")
    run(board, "mke2fs /dev/vda >/dev/null 2>&1; mount /dev/vda /mnt")
    try:
        done = board.labctl("flash", *WORDS[:1], str(image), *WORDS[1:], check=False)
        assert done.returncode == 1
        assert "vda is mounted at /mnt" in done.stderr
    finally:
        run(board, "umount /mnt")


def test_one_that_was_killed_is_finished_by_the_next(board: Lab, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    content = make(image, 3, 6 * MIB)
    process = begin(board, image)
    process.kill()
    process.wait()
    said = board.json("flash", *WORDS[:1], str(image), *WORDS[1:])
    assert said["unfinished"]["image"] == str(image)
    assert said["written"] is True
    assert holds(board, content)


def test_ctrl_c_leaves_nothing_running(board: Lab, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    content = make(image, 4, 6 * MIB)
    process = begin(board, image)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert "dd if" not in (said := run(board, "ps")), said
    assert "wget" not in said
    board.labctl("flash", *WORDS[:1], str(image), *WORDS[1:])
    assert holds(board, content)
