"""Which method takes an image that is too large for memory; what is remembered of a board."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.boards.flash import image as image_module
from labctl.boards.flash.identity import IdentityBook
from labctl.boards.flash.image import read_image
from labctl.boards.flash.method import Identity, OtherBoardError
from labctl.boards.flash.planner import choose
from labctl.errors import UsageError
from labctl.inventory.model import Board

FLASH = [
    {"to": "disk", "method": "uboot-block", "interface": "virtio"},
    {"to": "disk", "method": "linux-block", "device": "/dev/vda"},
    {"to": "ram", "method": "uboot-ram", "region": "ram", "address": 0},
]


def bench(flash: list[dict[str, Any]]) -> Any:
    model = SimpleNamespace(data={"flash": flash, "memory": {}}, path=Path("board.yaml"), name="m")
    return SimpleNamespace(name="box", model=model, linux=object(), uboot=object())


def test_a_large_image_is_for_a_method_that_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(5000))
    words: Any = {"method": None, "via": None, "say": lambda text: None}
    small = read_image(path)
    assert choose(bench(FLASH), small, to="disk", **words)[0].name == "uboot-block"
    monkeypatch.setattr(image_module, "LARGEST_IN_MEMORY", 4999)
    large = read_image(path)
    method, reasons = choose(bench(FLASH), large, to="disk", **words)
    assert method.name == "linux-block"
    assert reasons == ["uboot-block: it carries what fits into memory, not 5,000 bytes"]
    with pytest.raises(UsageError, match="nothing here can write its 'ram'"):
        choose(bench(FLASH), large, to="ram", **words)


@pytest.mark.parametrize(
    "wrong",
    [
        {"device": "vda"},
        {"device": "/dev/vda; reboot"},
        {"device": "/dev/vda", "digest": "crc32"},
        {"device": "/dev/vda", "unmount": "/boot"},
        {},
    ],
)
def test_wrong_keys_are_named(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(b"\xff\0")
    flash = [{"to": "disk", "method": "linux-block", **wrong}]
    with pytest.raises(UsageError, match=r"device|digest|unmount"):
        choose(bench(flash), read_image(path), to=None, method=None, via=None, say=print)


def test_methods_do_not_forget_what_others_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    book = IdentityBook(Board("box", "model"), None)
    book.remember(Identity({"serial#": "1", "cpu": "x"}, frozenset({"serial#"})))
    book.remember(Identity({"mac": "aa"}, frozenset({"mac"})))
    assert book.known() == {"serial#": "1", "mac": "aa"}
    with pytest.raises(OtherBoardError):
        book.check(Identity({"serial#": "2"}, frozenset({"serial#"})))
    book.remember(Identity({"serial#": "2"}, frozenset({"serial#"})), new_board=True)
    assert book.known() == {"serial#": "2"}
