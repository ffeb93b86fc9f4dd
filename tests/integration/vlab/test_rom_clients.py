"""The simulated ROMs proved by clients that others wrote: stm32flash, stm32loader, esptool.

stm32flash talks over a pseudo-terminal, which has no parity, so it is told 8N1; stm32loader talks
over RFC 2217, with parity and with DTR and RTS wired to the chip's pins.
"""

from __future__ import annotations

import importlib.util
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.vlab.rom.esp32 import image as esp_image
from labctl.vlab.rom.testing import Running, running

_DEADLINE_S = 120.0
_FAST = {"flash_time": 0.02, "paced": False}
# It opens the port with a class that knows device files only; nothing else is changed.
_STM32LOADER = """
import serial, sys
serial.Serial = lambda port=None, **rest: serial.serial_for_url(port, **rest)
from stm32loader.__main__ import main
sys.argv[0] = "stm32loader"
main()
"""

with_stm32flash = pytest.mark.skipif(
    shutil.which("stm32flash") is None, reason="needs stm32flash (apt install stm32flash)"
)
with_stm32loader = pytest.mark.skipif(
    importlib.util.find_spec("stm32loader") is None,
    reason="needs stm32loader (pip install stm32loader)",
)


def image(path: Path, size: int, seed: int = 1) -> bytes:
    data = random.Random(seed).randbytes(size)
    path.write_bytes(data)
    return data


def run(*command: str, fails: bool = False) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    said = done.stdout + done.stderr
    assert (done.returncode != 0) == fails, said
    return said


def stm32flash(board: Running, *options: str, fails: bool = False) -> str:
    return run("stm32flash", "-m", "8n1", "-b", "115200", *options, board.url, fails=fails)


def stm32loader(board: Running, *options: str, fails: bool = False) -> str:
    return run(sys.executable, "-c", _STM32LOADER, "-p", board.url, *options, fails=fails)


@with_stm32flash
@pytest.mark.parametrize(
    ("chip", "name"), [("stm32f446", "STM32F446xx"), ("stm32f103", "STM32F10xxx Medium-density")]
)
def test_stm32flash_writes_verifies_reads_and_starts(chip: str, name: str, tmp_path: Path) -> None:
    with running({"chip": chip, "line": "pty", **_FAST}) as board:
        board.into_rom()
        said = stm32flash(board)
        assert name in said
        data = image(tmp_path / "image", 20_001)
        board.into_rom()
        said = stm32flash(board, "-w", str(tmp_path / "image"), "-v")
        assert "Wrote and verified" in said
        assert board.flash()[: len(data)] == data
        board.into_rom()
        stm32flash(board, "-r", str(tmp_path / "back"), "-S", f"0x08000000:{len(data) // 4 * 4}")
        assert (tmp_path / "back").read_bytes() == data[: len(data) // 4 * 4]
        board.into_rom()
        stm32flash(board, "-o")
        assert set(board.flash()) == {0xFF}


@with_stm32flash
def test_stm32flash_protects_and_frees(tmp_path: Path) -> None:
    data = image(tmp_path / "image", 1000)
    with running({"line": "pty", **_FAST}) as board:
        board.into_rom()
        stm32flash(board, "-w", str(tmp_path / "image"))
        board.into_rom()
        stm32flash(board, "-j")
        assert board.ask("x-state")["protected"]
        stm32flash(board, "-r", str(tmp_path / "back"), fails=True)
        assert board.flash()[: len(data)] == data
        board.into_rom()
        stm32flash(board, "-k")
        assert not board.ask("x-state")["protected"]
        assert set(board.flash()) == {0xFF}


@with_stm32flash
def test_stm32flash_gives_up_on_a_damaged_block_and_writes_again_what_it_read_wrong(
    tmp_path: Path,
) -> None:
    data = image(tmp_path / "image", 4000)
    with running({"line": "pty", **_FAST}) as board:
        board.into_rom()
        board.ask("x-fault", kind="flip", way="in", after=1500)
        said = stm32flash(board, "-w", str(tmp_path / "image"), "-v", fails=True)
        assert "Failed to write memory" in said
        board.into_rom()
        board.ask("x-fault", kind="flip", way="out", after=1500)
        stm32flash(board, "-w", str(tmp_path / "image"), "-v")
        assert board.flash()[: len(data)] == data


@with_stm32loader
@pytest.mark.parametrize(("chip", "family"), [("stm32f446", "F4"), ("stm32f103", "F1")])
def test_stm32loader_resets_it_by_the_signals_and_writes(
    chip: str, family: str, tmp_path: Path
) -> None:
    data = image(tmp_path / "image", 9001)
    with running({"chip": chip, **_FAST}) as board:
        board.ask("cont")
        said = stm32loader(board, "-f", family, "-e", "-w", "-v", str(tmp_path / "image"))
        assert "Verification OK" in said
        size = {"stm32f446": 512, "stm32f103": 128}[chip]
        assert f"Flash size: {size} KiB" in said
        assert board.flash()[: len(data)] == data
        assert not board.ask("x-state")["in_rom"]


@with_stm32loader
def test_stm32loader_is_refused_without_parity() -> None:
    with running(_FAST) as board:
        board.ask("cont")
        assert "NACK" in stm32loader(board, "-P", "none", "-f", "F4", fails=True)


# -- ESP32 ------------------------------------------------------------------------------------


def esptool(board: Running, *arguments: str, fails: bool = False) -> str:
    before = ["--before", "no-reset", "--after", "no-reset"] if board.url.startswith("/") else []
    return run(
        sys.executable, "-m", "esptool", "--chip", "esp32", "--port", board.url, *before,
        *arguments, fails=fails,
    )  # fmt: skip


with_esptool = pytest.mark.skipif(
    importlib.util.find_spec("esptool") is None, reason="needs esptool (pip install esptool)"
)


@pytest.fixture
def esp32() -> Iterator[Running]:
    with running({"chip": "esp32", "line": "pty", **_FAST}) as board:
        board.ask("x-pins", io0=False)
        board.ask("cont")
        yield board


def firmware(path: Path, size: int) -> bytes:
    data = esp_image([(0x400D0020, random.Random(1).randbytes(size)), (0x3FFB0000, bytes(4000))])
    path.write_bytes(data)
    return data


@with_esptool
def test_esptool_knows_the_chip_and_its_flash(esp32: Running) -> None:
    said = esptool(esp32, "flash-id")
    assert "ESP32-D0WD-V3 (revision v3.0)" in said
    assert "Crystal frequency:  40MHz" in said
    assert "MAC:                24:0a:c4:" in said
    assert "Detected flash size: 4MB" in said
    assert "Stub flasher running." in said


@with_esptool
def test_esptool_takes_the_images_of_our_tests_for_good_ones(tmp_path: Path) -> None:
    firmware(tmp_path / "image", 1000)
    said = run(sys.executable, "-m", "esptool", "image-info", str(tmp_path / "image"))
    assert "ESP32" in said
    assert "(valid)" in said


@with_esptool
@pytest.mark.parametrize("stub", [True, False])
def test_esptool_writes_verifies_and_reads(esp32: Running, tmp_path: Path, stub: bool) -> None:
    size = 50_000 if stub else 12_000
    data = firmware(tmp_path / "image", size)
    rest = ["--baud", "460800"] if stub else ["--no-stub"]
    before = esp32.flash()
    said = esptool(esp32, *rest, "write-flash", "0x10000", str(tmp_path / "image"))
    assert "Hash of data verified." in said
    after = esp32.flash()
    assert after[0x10000:][: len(data)] == data
    assert after[:0x10000] == before[:0x10000]
    esp32.ask("system_reset")
    said = esptool(esp32, *rest, "verify-flash", "0x10000", str(tmp_path / "image"))
    assert "Verification successful" in said
    if stub:
        esp32.ask("system_reset")
        back = tmp_path / "back"
        esptool(esp32, *rest, "read-flash", "0x10000", str(len(data)), str(back))
        assert back.read_bytes() == data
        esp32.ask("system_reset")
        esptool(esp32, "erase-region", "0x10000", "0x4000")
        assert esp32.flash()[0x10000:0x14001] == b"\xff" * 0x4000 + data[0x4000:0x4001]
        esp32.ask("system_reset")
        esptool(esp32, "erase-flash")
        assert set(esp32.flash()) == {0xFF}


@with_esptool
def test_esptool_repairs_a_damaged_block(esp32: Running, tmp_path: Path) -> None:
    data = firmware(tmp_path / "image", 20_000)
    esp32.ask("x-fault", kind="flip", way="in", after=16_000)
    esptool(esp32, "write-flash", "0x10000", str(tmp_path / "image"))
    assert esp32.flash()[0x10000:][: len(data)] == data


@with_esptool
def test_esptool_resets_it_by_the_signals() -> None:
    """Over RFC 2217; pyserial negotiates the port anew at every step, which takes its time."""
    with running({"chip": "esp32", **_FAST}) as board:
        board.ask("cont")
        assert "Chip type:          ESP32" in esptool(board, "--no-stub", "read-mac")
        assert not board.ask("x-state")["in_rom"]
        assert board.ask("x-state")["boots"] > 2
