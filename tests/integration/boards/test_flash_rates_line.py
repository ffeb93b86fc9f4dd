"""A file at the highest rate that a cable holds, on the scripted board's paced line."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from virtual_lab import Lab, MakeLab

INVENTORY = "version: 1\nboards:\n  b1: {model: scripted, virtual: true}\n"


@pytest.fixture(scope="module")
def board(make_lab: MakeLab) -> Iterator[Lab]:
    lab = make_lab(INVENTORY)
    lab.labctl("lab", "up", "b1")
    lab.labctl("board", "boot", "b1", "uboot")
    yield lab
    lab.down()


@pytest.fixture(autouse=True)
def healthy(board: Lab) -> Iterator[None]:
    """Take the faults away, and what is remembered of the cable."""
    yield
    board.labctl("lab", "fault", "b1", "--clear")
    for known in board.folder.parent.parent.glob("lines/*/rates.json"):
        known.unlink()


def flash(lab: Lab, image: Path, *words: str) -> dict[str, object]:
    return lab.json("flash", "b1", str(image), "--force", *words)


def rates(lab: Lab) -> dict[str, float]:
    (known,) = lab.folder.parent.parent.glob("lines/*/rates.json")
    found: dict[str, float] = json.loads(known.read_text())
    return found


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(random.Random(1).randbytes(20_000))
    return path


def test_the_highest_rate_is_taken_and_put_back(board: Lab, image: Path) -> None:
    done = flash(board, image)
    assert (done["written"], done["way"]) == (True, "YMODEM at 921600 baud")
    assert rates(board)["921600"] > 0
    assert board.labctl("board", "run", "b1", "echo back").stdout == "back\n"


def test_a_cable_that_does_not_hold_it_is_stepped_down_and_remembered(
    board: Lab, image: Path
) -> None:
    board.labctl("lab", "fault", "b1", "cable=300000")
    assert flash(board, image)["written"] is True
    known = rates(board)
    assert known["921600"] < 0
    assert known["460800"] < 0
    assert known["230400"] > 0
    # The next one begins where this one ended.
    assert flash(board, image, "--plan")["way"] == "YMODEM at 230400 baud"


def test_bytes_that_are_lost_now_and_then_cost_blocks_and_nothing_else(
    board: Lab, image: Path
) -> None:
    image.write_bytes(image.read_bytes()[:6000])
    board.labctl("lab", "fault", "b1", "lose_in=0.0002", "flip_in=0.0002", "seed=5")
    done = flash(board, image)
    assert (done["written"], done["digest"]) == (True, done["wanted"])
