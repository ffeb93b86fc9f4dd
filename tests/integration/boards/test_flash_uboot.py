"""labctl flash on real U-Boot: flash, disk, RAM; what goes wrong in the middle; the wrong board."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from virtual_lab import Lab, MakeLab, until

from labctl.transport import qmp

pytestmark = pytest.mark.vm

INVENTORY = """\
version: 1
boards:
  arm64: {model: qemu-arm64, virtual: true}
"""
# What the model calls flash1 begins here in QEMU's file of the second bank.
BLOCK = 256 << 10


def noise(size: int, seed: int) -> bytes:
    """Return bytes that cannot be compressed, the same each time."""
    return random.Random(seed).randbytes(size)


@pytest.fixture(scope="module")
def board(make_lab: MakeLab) -> Iterator[Lab]:
    """A lab whose board arm64 is at U-Boot's prompt."""
    lab = make_lab(INVENTORY)
    lab.labctl("lab", "up", "arm64")
    lab.labctl("board", "boot", "arm64", "uboot")
    yield lab
    lab.down()


def home(lab: Lab) -> Path:
    return lab.folder / "machines" / "arm64"


def bank(lab: Lab) -> bytes:
    """Return the second flash bank, as it is on the disk of this machine."""
    return (home(lab) / "flash1.img").read_bytes()


def said(lab: Lab) -> bytes:
    """Return everything that the board has said."""
    return (home(lab) / "console.log").read_bytes()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return tmp_path / "image.bin"


def flash(lab: Lab, image: Path, *words: str) -> dict[str, object]:
    return lab.json("flash", "arm64", str(image), *words)


def test_flash_is_written_once_and_survives_a_power_cycle(board: Lab, image: Path) -> None:
    image.write_bytes(noise(30_000, 1))
    before = bank(board)
    first = flash(board, image, "--to", "flash")
    assert (first["schema"], first["written"], first["same"]) == ("labctl.flash/1", True, False)
    assert first["digest"] == first["wanted"]
    after = bank(board)
    assert after[:30_000] == image.read_bytes()
    assert after[30_000:BLOCK] == b"\xff" * (BLOCK - 30_000)
    assert after[BLOCK:] == before[BLOCK:], "what is behind its block was touched"
    assert flash(board, image, "--to", "flash")["written"] is False
    board.labctl("board", "power", "arm64", "cycle")
    again = flash(board, image, "--to", "flash")
    assert (again["written"], again["digest"]) == (False, first["digest"])


def test_only_the_blocks_that_differ_are_written(board: Lab, image: Path) -> None:
    image.write_bytes(noise(30_000, 1) + bytes(BLOCK))
    flash(board, image, "--to", "flash")
    image.write_bytes(noise(30_000, 1) + bytes(BLOCK - 30_000) + b"tail")
    plan = flash(board, image, "--to", "flash", "--plan")
    assert plan["written"] is None
    assert plan["steps"][0].startswith("erase 1 blocks")  # type: ignore[index]
    flash(board, image, "--to", "flash")
    assert bank(board)[: BLOCK + 4] == image.read_bytes()


def test_what_the_plan_says_is_for_people_too(board: Lab, image: Path) -> None:
    image.write_bytes(noise(1000, 2))
    text = board.labctl("flash", "arm64", str(image), "--to", "ram", "--plan").stdout
    for word in ("board:", "it says:", "ethaddr 52:54:00", "there now:", "way:", "to do:"):
        assert word in text


def test_the_boot_loader_is_not_overwritten(board: Lab, image: Path, tmp_path: Path) -> None:
    image.write_bytes(noise(1000, 3))
    entry = {"to": "flash", "method": "uboot-cfi", "region": "flash0", "load": 0x41000000}
    inventory = tmp_path / "i.yaml"
    settings = json.dumps({"flash": [entry]})
    text = f"boards: {{arm64: {{model: qemu-arm64, virtual: true, settings: {settings}}}}}\n"
    inventory.write_text("version: 1\n" + text)
    before = board.inventory.read_text()
    board.inventory.write_text(inventory.read_text())
    try:
        done = board.labctl("flash", "arm64", str(image), check=False)
    finally:
        board.inventory.write_text(before)
    assert done.returncode == 1
    assert "it would overwrite U-Boot at 0x0" in done.stderr


def test_a_disk_over_the_line_and_booted_from_what_was_flashed(board: Lab, image: Path) -> None:
    """First its beginning is destroyed, over the serial line; then the lab's own image is written
    back, of which only that beginning differs; then it boots."""
    image.write_bytes(noise(20_000, 4) + bytes(2_000_000))
    first = flash(board, image, "--to", "disk", "--via", "ymodem")
    assert first["written"] is True
    assert int(str(first["payload_bytes"])) < 30_000, "it was sent as it is"
    disk = (home(board) / "tftp" / "vmlinuz").resolve().parent.parent / "disk.img"
    second = flash(board, disk, "--to", "disk")
    assert second["written"] is True
    assert int(str(second["payload_bytes"])) <= 4 << 20, "all of it was sent"
    board.labctl("board", "boot", "arm64", "linux")
    # U-Boot has read all of it back; Linux, by another driver, what had been destroyed.
    part = f"head -c {4 << 20} /dev/vda | sha256sum"
    printed = board.labctl("board", "run", "arm64", part, "--timeout", "300").stdout
    with disk.open("rb") as stream:
        assert printed.split()[0] == hashlib.sha256(stream.read(4 << 20)).hexdigest()


def test_a_kernel_is_tried_from_ram(board: Lab) -> None:
    kernel = home(board) / "tftp" / "vmlinuz"
    flash(board, kernel.resolve(), "--to", "kernel", "--plan")
    assert board.json("board", "state", "arm64")["state"] == "uboot", "a plan has started it"
    begin = len(said(board))
    flash(board, kernel.resolve(), "--to", "kernel")
    until(lambda: b"login: " in said(board)[begin:], timeout_s=120)
    board.labctl("board", "boot", "arm64", "uboot", "--force")


def begin_over_the_line(lab: Lab, image: Path) -> subprocess.Popen[str]:
    """Start a flash over the serial line and wait until blocks are on their way."""
    image.write_bytes(noise(400_000, 5))
    before = said(lab).count(b"Ready for binary")
    job = lab.start("flash", "arm64", str(image), "--to", "ram", "--via", "ymodem", "--force")
    until(lambda: said(lab).count(b"Ready for binary") > before)
    return job


def test_ctrl_c_leaves_a_prompt_within_three_seconds(board: Lab, image: Path) -> None:
    job = begin_over_the_line(board, image)
    started = time.monotonic()
    job.send_signal(signal.SIGINT)
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 130, output
    assert "interrupted" in output
    assert board.json("board", "state", "arm64")["state"] == "uboot"
    # Seconds of this machine under load are not the board's: the figure is in bench/flash.py.
    assert time.monotonic() - started < 60


def test_a_run_that_was_killed_is_told_of_and_finished(board: Lab, image: Path) -> None:
    job = begin_over_the_line(board, image)
    job.kill()
    job.wait()
    image.write_bytes(noise(5_000, 6))
    text = board.labctl("flash", "arm64", str(image), "--to", "ram").stdout
    assert "was not finished" in text
    assert "written and verified" in text
    assert (
        "was not finished" not in board.labctl("flash", "arm64", str(image), "--to", "ram").stdout
    )


@pytest.mark.parametrize("after", [b"Ready for binary", b"Erased", b"labctl_s"])
def test_a_power_cut_in_any_phase_is_survived(board: Lab, image: Path, after: bytes) -> None:
    """The board is reset in the middle of sending, right after erasing, while it is written."""
    untouched = bank(board)[4 * BLOCK :]
    image.write_bytes(noise(60_000, 7 + len(after)))
    seen = said(board).count(after)
    job = board.start("flash", "arm64", str(image), "--to", "flash", "--via", "ymodem", "--force")
    until(lambda: said(board).count(after) > seen)
    qmp.execute(home(board) / "qmp.sock", "system_reset")
    output, _ = job.communicate(timeout=300)
    # Between two commands a reset may pass unnoticed: QEMU's memory survives it, and what is
    # written is compared all the same.
    noticed = job.returncode == 1 and "labctl: arm64: " in output
    assert noticed or "and verified" in output
    flash(board, image, "--to", "flash")
    assert bank(board)[:60_000] == image.read_bytes()
    assert bank(board)[4 * BLOCK :] == untouched


def test_swapped_adapters_are_refused(make_lab: MakeLab, image: Path) -> None:
    lab = make_lab(
        "version: 1\nboards:\n"
        "  left: {model: qemu-arm64, virtual: true}\n  right: {model: qemu-arm64, virtual: true}\n"
    )
    image.write_bytes(noise(3_000, 8))
    lab.labctl("lab", "up", "left", "right")
    for name in ("left", "right"):
        lab.labctl("flash", name, str(image), "--to", "ram")
    # The same two names, their cables swapped.
    machines = lab.folder / "machines"
    lines = {name: f"unix:{machines / name}/console.sock" for name in ("left", "right")}
    lab.inventory.write_text(
        "version: 1\nboards:\n"
        f"  left: {{model: qemu-arm64, line: '{lines['right']}'}}\n"
        f"  right: {{model: qemu-arm64, line: '{lines['left']}'}}\n"
    )
    image.write_bytes(noise(3_000, 9))
    try:
        for name in ("left", "right"):
            done = lab.labctl("flash", name, str(image), "--to", "ram", check=False)
            assert done.returncode == 1, done.stdout
            assert "this is another board: its ethaddr is" in done.stderr
            assert "cables were swapped" in done.stderr
        lab.labctl("flash", "left", str(image), "--to", "ram", "--new-board")
    finally:
        lab.inventory.write_text(
            "version: 1\nboards:\n  left: {model: qemu-arm64, virtual: true}\n"
            "  right: {model: qemu-arm64, virtual: true}\n"
        )
        lab.down()
