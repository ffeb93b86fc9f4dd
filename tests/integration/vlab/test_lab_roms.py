"""Simulated chips as boards of the virtual lab: started, flashed, power cycled, reset."""

from __future__ import annotations

import importlib.util
import json
import random
from pathlib import Path

import pytest
from virtual_lab import Lab, MakeLab

from labctl.inventory.endpoints import read_board_endpoints
from labctl.transport import qmp
from labctl.vlab.rom.esp32 import image

_INVENTORY = """\
version: 1
boards:
  esp32: {model: esp32-devkitc, virtual: true}
  stm32:
    model: stm32-nucleo-f446re
    virtual: true
    settings:
      line: {dtr: false, rts: true}
      reset:
        signals: [{dtr: true, rts: true, seconds: 0.02}, {dtr: false}]
        loader: [{dtr: true, rts: false, seconds: 0.02}, {dtr: false, seconds: 0.05}]
      flash: [{method: stm32-uart, region: flash, rates: ["460800"]}]
"""


def stm32_program() -> bytes:
    head = (0x20005000).to_bytes(4, "little") + (0x08000009).to_bytes(4, "little")
    return head + random.Random(1).randbytes(5000)


def esp32_program() -> bytes:
    return image([(0x400D0020, random.Random(1).randbytes(20_000))])


def flash(lab: Lab, board: str, path: Path) -> dict[str, object]:
    done = lab.labctl("flash", board, str(path), "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, object] = json.loads(done.stdout)
    return document


@pytest.mark.parametrize(
    ("board", "offset"),
    [
        ("stm32", 0),
        pytest.param(
            "esp32", 0x10000,
            marks=pytest.mark.skipif(
                importlib.util.find_spec("esptool") is None, reason="needs esptool"
            ),
        ),
    ],
)  # fmt: skip
def test_a_board_is_flashed_keeps_it_without_power_and_is_as_new_after_a_reset(
    make_lab: MakeLab, tmp_path: Path, board: str, offset: int
) -> None:
    lab = make_lab(_INVENTORY)
    lab.up(board)
    with lab.environment():
        endpoint = read_board_endpoints(lab.inventory)[board]
    flash_file = Path(endpoint.folder) / "flash.bin"
    data = {"stm32": stm32_program, "esp32": esp32_program}[board]()
    (tmp_path / "image.bin").write_bytes(data)
    result = flash(lab, board, tmp_path / "image.bin")
    assert result["written"] is True
    assert flash_file.read_bytes()[offset:][: len(data)] == data
    assert lab.labctl("board", "power", board, "cycle").returncode == 0
    assert qmp.execute(Path(endpoint.monitor), "x-state")["powered"]
    result = flash(lab, board, tmp_path / "image.bin")
    assert (result["written"], result["same"]) == (False, True)
    log = lab.labctl("console", "log", board).stdout
    assert f"program {len(data) + -len(data) % 4} bytes" in log
    assert lab.labctl("lab", "reset", board).returncode == 0
    assert set(flash_file.read_bytes()[offset:]) == {0xFF}
