"""Flashing, into the RAM of a board with U-Boot: nothing that lasts is changed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from labctl.boards.bench import Bench
from labctl.boards.flash.image import read_image
from labctl.boards.flash.job import FlashJob
from labctl.boards.flash.method import Progress
from labctl.boards.flash.planner import targets
from labctl.inventory.model import Inventory


@pytest.mark.parametrize("via", ["ymodem", "tftp"])
def test_what_was_written_is_there_and_is_not_written_again(
    board: Bench, lab: Inventory, tmp_path: Path, via: str
) -> None:
    if not any(one.name == "ram" for one in targets(board.model)):
        pytest.skip("its model has no place 'ram' to flash")
    if via == "tftp" and "network" not in board.model.capabilities:
        pytest.skip("it has no network")
    path = tmp_path / "image.bin"
    path.write_bytes(random.randbytes(8_000))
    image = read_image(path)
    job = FlashJob(board, lab.path, image, to="ram", via=via)
    first = job.plan()
    assert first.comparison.same is False
    done = job.run(first, Progress())
    assert done.written
    assert done.digest.same
    again = FlashJob(board, lab.path, image, to="ram", via=via).plan()
    assert again.comparison.same
    assert again.route is None
