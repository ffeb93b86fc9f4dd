"""Rates are tried from above; those that failed are left for a while."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from labctl.boards.flash.rates import RateMemory

RATES = (230400, 921600, 460800, 9600)


def test_the_highest_comes_first_and_none_below_the_lines_own(tmp_path: Path) -> None:
    assert RateMemory(tmp_path).to_try(RATES, 115200) == [921600, 460800, 230400]


def test_what_failed_is_remembered_and_forgiven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RateMemory(tmp_path).forget(921600)
    RateMemory(tmp_path).remember(460800)
    assert RateMemory(tmp_path).to_try(RATES, 115200) == [460800, 230400]
    later = time.time() + 8 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    assert RateMemory(tmp_path).to_try(RATES, 115200) == [921600, 460800, 230400]


def test_a_damaged_file_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "rates.json").write_text("[1, 2")
    assert RateMemory(tmp_path).to_try(RATES, 115200)[0] == 921600
    RateMemory(tmp_path / "gone").remember(921600)
