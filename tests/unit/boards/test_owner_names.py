"""A port that is not plugged in is still the line that it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl.boards.owner import names
from labctl.boards.owner.names import identity_of

Now = dict[str, tuple[str, bool]]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    """What each name means now."""
    meanings: Now = {}
    monkeypatch.setattr(names, "identify", meanings.__getitem__)
    return meanings


def test_unplugged_it_is_what_it_was_last(now: Now, tmp_path: Path) -> None:
    for name in ("/dev/ttyUSB0", "/dev/serial/by-id/x"):
        now[name] = ("udev:ID_SERIAL_SHORT=A", True)
        assert identity_of(name, tmp_path) == "udev:ID_SERIAL_SHORT=A"
        now[name] = (name, False)
        assert identity_of(name, tmp_path) == "udev:ID_SERIAL_SHORT=A"
    # Plugged in after another one, and with another name of the kernel.
    now["/dev/ttyUSB0"] = ("udev:ID_SERIAL_SHORT=B", True)
    now["/dev/serial/by-id/x"] = ("udev:ID_SERIAL_SHORT=A", True)
    assert identity_of("/dev/ttyUSB0", tmp_path) == "udev:ID_SERIAL_SHORT=B"
    assert identity_of("/dev/serial/by-id/x", tmp_path) == "udev:ID_SERIAL_SHORT=A"


def test_a_name_that_was_never_there_is_itself(now: Now, tmp_path: Path) -> None:
    now["udev:A=b"] = ("udev:A=b", False)
    assert identity_of("udev:A=b", tmp_path) == "udev:A=b"
    assert list(tmp_path.iterdir()) == []


def test_other_lines_are_not_remembered(now: Now, tmp_path: Path) -> None:
    now["socket://x:1"] = ("tcp:x:1", True)
    now["/dev/ttyS0"] = ("/dev/ttyS0", True)
    assert identity_of("socket://x:1", tmp_path) == "tcp:x:1"
    assert identity_of("/dev/ttyS0", tmp_path) == "/dev/ttyS0"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"/dev/ttyUSB0": 3}'])
def test_a_broken_file_is_none(now: Now, tmp_path: Path, text: str) -> None:
    (tmp_path / "names.json").write_text(text)
    now["/dev/ttyUSB0"] = ("udev:A=b", True)
    assert identity_of("/dev/ttyUSB0", tmp_path) == "udev:A=b"
    now["/dev/ttyUSB0"] = ("/dev/ttyUSB0", False)
    assert identity_of("/dev/ttyUSB0", tmp_path) == "udev:A=b"


def test_what_cannot_be_kept_is_no_error(now: Now, tmp_path: Path) -> None:
    now["/dev/ttyUSB0"] = ("udev:A=b", True)
    assert identity_of("/dev/ttyUSB0", tmp_path / "missing") == "udev:A=b"
