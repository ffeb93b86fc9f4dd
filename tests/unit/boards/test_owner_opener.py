"""What is opened again after a line went away, and what is not."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from labctl.boards.owner.opener import Opener
from labctl.boards.owner.place import OwnerConfig
from labctl.transport.lines.base import Line, LineGoneError
from labctl.transport.lines.settings import LineSettings

SET = LineSettings()


@pytest.fixture
def device() -> Iterator[str]:
    master, slave = pty.openpty()
    yield os.ttyname(slave)
    os.close(slave)
    os.close(master)


def opener(url: str) -> tuple[Opener, list[OwnerConfig]]:
    opened: list[OwnerConfig] = []

    def open_line(config: OwnerConfig) -> Line:
        opened.append(config)
        return cast(Line, object())

    return Opener(OwnerConfig("uno", url, SET), open_line), opened


def test_the_number_of_a_pseudo_terminal_is_somebody_elses_the_next_time(device: str) -> None:
    again, opened = opener(device)
    again(SET)
    with pytest.raises(LineGoneError, match="has ended"):
        again(SET)
    assert len(opened) == 1


def test_a_link_that_was_left_is_not_followed_and_a_new_one_is(device: str, tmp_path: Path) -> None:
    link = tmp_path / "line"
    link.symlink_to(device)
    again, opened = opener(str(link))
    again(SET)
    with pytest.raises(LineGoneError, match="make the name anew"):
        again(SET)
    fresh = tmp_path / "fresh"
    fresh.symlink_to(device)
    fresh.replace(link)
    again(SET)
    assert len(opened) == 2


def test_with_other_settings_we_closed_it_ourselves(device: str) -> None:
    again, opened = opener(device)
    again(SET)
    again(LineSettings(baud=9600))
    assert [one.settings.baud for one in opened] == [115200, 9600]


@pytest.mark.parametrize("url", ["/dev/ttyUSB0", "socket://127.0.0.1:1", "exec:cat", "udev:A=b"])
def test_other_lines_come_back_under_their_names(url: str) -> None:
    again, opened = opener(url)
    again(SET)
    again(SET)
    assert len(opened) == 2


def test_another_adapter_that_took_the_name_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now: list[tuple[str, bool]] = [("udev:ID_SERIAL_SHORT=A", True)]
    monkeypatch.setattr("labctl.boards.owner.opener.identify", lambda url: now[0])
    again, opened = opener("/dev/ttyUSB0")
    again(SET)
    now[0] = ("udev:ID_SERIAL_SHORT=B", True)
    with pytest.raises(LineGoneError, match="another adapter has its name now"):
        again(SET)
    now[0] = ("/dev/ttyUSB0", False)  # gone: to open it says why
    again(SET)
    now[0] = ("udev:ID_SERIAL_SHORT=A", True)
    again(SET)
    assert len(opened) == 3


def test_what_could_not_be_opened_is_tried_again(device: str) -> None:
    def fail(config: OwnerConfig) -> Any:
        raise LineGoneError("not yet")

    again = Opener(OwnerConfig("uno", device, SET), fail)
    for _ in range(2):
        with pytest.raises(LineGoneError, match="not yet"):
            again(SET)
