"""Models of boards: the shipped ones, and mistakes in one's own."""

from pathlib import Path

import pytest

from labctl.boards.flash.planner import method_class, targets
from labctl.boards.keys import problems
from labctl.boards.model import load_model, models
from labctl.errors import UsageError
from labctl.inventory.diagnostics import InventoryError
from labctl.inventory.model import Board


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", sorted(models(None)))
def test_shipped_models_are_right(name: str) -> None:
    first = load_model(Board("b", name), None)
    again = load_model(Board("b", name), None)  # from the cache
    assert first == again
    assert first.description
    assert first.data["documentation"]
    first.signs()
    first.boot_plan()


@pytest.mark.parametrize("name", sorted(models(None)))
def test_shipped_models_promise_no_method_that_there_is_not(name: str) -> None:
    model = load_model(Board("b", name), None)
    for target in targets(model):
        method = method_class(target.method)
        assert method is not None, target.method
        assert problems(method.keys, target.config) == []
        assert target.config.get("region", "ram") in {"ram", *model.data["memory"]}


def test_a_board_overrides_its_model() -> None:
    board = Board("b", "qemu-arm64", settings={"line": {"baud": 9600}, "linux": {"user": "lab"}})
    model = load_model(board, None)
    assert model.line.describe() == "9600 8N1"
    assert model.boot_plan().user == "lab"
    assert model.signs().login is not None


def write(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "boards" / "mine"
    folder.mkdir(parents=True)
    (folder / "board.yaml").write_text(text)
    return tmp_path / "inventory.yaml"


def test_every_mistake_is_named_with_its_place(tmp_path: Path) -> None:
    inventory = write(
        tmp_path,
        "description: mine\nline: {bauds: 9600}\nuboot:\n  prompt: '('\nrom: x\nshel: none\n",
    )
    with pytest.raises(InventoryError) as error:
        load_model(Board("b", "mine"), inventory)
    lines = str(error.value).splitlines()
    assert [line.split(":")[1] for line in lines] == ["2", "4", "5", "6"]
    assert "did you mean 'baud'" in lines[0]
    assert "not a regular expression" in lines[1]
    assert "did you mean 'shell'" in lines[3]


def test_settings_are_checked_too() -> None:
    with pytest.raises(UsageError, match="settings of b: unknown key 'promt'; did you"):
        load_model(Board("b", "qemu-arm64", settings={"uboot": {"promt": "x"}}), None)


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'arduino-uno'"):
        load_model(Board("b", "arduino-un"), None)
