"""The wrong one of two boards is refused before anything is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl.boards.flash.identity import IdentityBook, check_model
from labctl.boards.flash.job import unfinished_flash
from labctl.boards.flash.method import Identity, OtherBoardError
from labctl.boards.model import BoardModel
from labctl.inventory.model import Board

ONE = Identity({"uid": "aa11", "chip": "f446"}, frozenset({"uid"}))
OTHER = Identity({"uid": "bb22", "chip": "f446"}, frozenset({"uid"}))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_the_first_time_anyone_is_welcome_and_then_only_that_one() -> None:
    book = IdentityBook(Board("b1", "m"), None)
    book.check(OTHER)
    book.remember(ONE)
    again = IdentityBook(Board("b1", "m"), None)
    again.check(ONE)
    with pytest.raises(
        OtherBoardError, match="its uid is bb22, the last time it was aa11"
    ) as caught:
        again.check(OTHER)
    assert "--new-board" in caught.value.action
    again.check(OTHER, new_board=True)


def test_boards_of_one_name_in_two_labs_are_two() -> None:
    IdentityBook(Board("b1", "m"), Path("/a.yaml")).remember(ONE)
    IdentityBook(Board("b1", "m"), Path("/b.yaml")).check(OTHER)


def test_what_the_inventory_says_holds_against_everything() -> None:
    book = IdentityBook(Board("b1", "m", identity={"uid": "AA11"}), None)
    book.check(ONE)
    with pytest.raises(OtherBoardError, match="the inventory says AA11"):
        book.check(OTHER, new_board=True)
    with pytest.raises(OtherBoardError, match="does not say its uid"):
        book.check(Identity({"chip": "f446"}))


def test_a_chip_or_processor_that_its_model_has_not() -> None:
    model = BoardModel("nucleo", Path("m"), {"chip": "stm32f446", "architecture": "arm"})
    check_model(Identity(chip="stm32f446"), model, "b1")
    check_model(Identity(), model, "b1")
    with pytest.raises(OtherBoardError, match="its chip is stm32f103"):
        check_model(Identity(chip="stm32f103"), model, "b1")
    with pytest.raises(OtherBoardError, match="its processor is aarch64"):
        check_model(Identity(architecture="aarch64"), model, "b1")


@pytest.mark.parametrize(
    ("events", "unfinished"),
    [
        ([], False),
        (["flash begun", "flash ended"], False),
        (["flash begun"], True),
        (["flash begun", "flash ended", "flash begun", "opened"], True),
        (["flash begun", "failed"], True),
        (["flash begun", "failed", "flash begun", "flash ended"], False),
    ],
)
def test_what_was_left_undone_is_known(events: list[str], unfinished: bool) -> None:
    entries = [
        {"event": "flash ended", "ok": False} if name == "failed" else {"event": name, "ok": True}
        for name in events
    ]
    assert (unfinished_flash(entries) is not None) is unfinished
