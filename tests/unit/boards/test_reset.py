"""Ways to reset a board, and the proof that it was."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from labctl.boards import reset as module
from labctl.boards.bench import power_of
from labctl.boards.model import SignalStep, load_model
from labctl.boards.reset import choose, pulse, reset
from labctl.boards.signs import Signs, Watcher
from labctl.errors import LabctlError, UsageError
from labctl.inventory.model import Board

ROOT = Path(__file__).parents[3]
ROM = (re.compile(rb"(?m)^\r?(?:U-Boot 20\d\d\.\d\d)"),)
PANIC = (re.compile(rb"(?m)^Kernel panic"),)


class Line:
    """Remembers what was set, and says what it is told."""

    offset = 0

    def __init__(self) -> None:
        self.set: list[tuple[bool | None, bool | None]] = []
        self.says: list[bytes] = []

    def set_signals(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        self.set.append((dtr, rts))

    def read(self, timeout: float) -> bytes:
        return self.says.pop(0) if self.says else b""

    def write(self, data: bytes) -> None:
        raise AssertionError

    def send_break(self, seconds: float) -> None:
        raise AssertionError


def watched(line: Line) -> Watcher:
    return Watcher(line, Signs(rom=ROM, panic=PANIC), "uno")


def test_the_steps_of_a_model_are_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    line = Line()
    steps = load_model(Board("esp", "esp32-devkitc"), None).reset_signals()
    pulse(line, steps)
    assert line.set == [(False, True), (None, False)]
    assert slept == [0.1, 0.0]
    pulse(line, [SignalStep(seconds=0.2)])
    assert line.set == [(False, True), (None, False)]


def test_a_reset_is_proved_by_the_first_words() -> None:
    line = Line()
    line.says = [b"old output\r\nU-Boot 2023.01 of before\r\n", b""]

    def act() -> None:
        line.says += [b"resetting ...\r\n", b"\r\nU-Boot 2023.01 (N", b"ov 30)\r\n\r\nDRAM"]

    result = reset(act, "signals", watched(line), ROM, timeout_s=1)
    assert (result.way, result.proved) == ("signals", True)
    assert result.evidence == "U-Boot 2023.01 (Nov 30)"


def test_a_board_that_goes_on_was_not_reset() -> None:
    line = Line()
    line.says = [b"U-Boot 2023.01\r\n", b""]
    with pytest.raises(LabctlError, match=r"did not show its first words .* said: still here"):
        reset(lambda: line.says.append(b"still here\r\n"), "power", watched(line), ROM,
              timeout_s=0.05)  # fmt: skip


def test_a_panic_of_before_does_not_end_it() -> None:
    line = Line()

    def act() -> None:
        line.says += [b"Kernel panic - not syncing\r\n", b"U-Boot 2023.01\r\n"]

    assert reset(act, "power", watched(line), ROM, timeout_s=1).proved


def test_where_the_model_does_not_know_what_comes_is_shown_and_no_proof() -> None:
    line = Line()

    def act() -> None:
        line.says.append(b"\r\nhello \x1b[31mworld\r\nmore\r\n")

    result = reset(act, "signals", watched(line), (), timeout_s=1)
    assert (result.proved, result.evidence) == (None, "hello world")
    assert reset(lambda: None, "signals", watched(line), (), timeout_s=1).evidence == ""


def nothing() -> None: ...


@pytest.mark.parametrize(
    ("way", "ways", "says"),
    [
        (None, {}, "nothing resets it from here.*--soft"),
        ("signals", {"power": nothing}, "no steps on DTR and RTS.*it has: power"),
        ("power", {"signals": nothing}, "cannot be switched.*it has: signals"),
        ("soft", {}, "neither a U-Boot nor a Linux.*no other way either"),
    ],
)
def test_a_way_that_it_has_not(way: str | None, ways: Mapping[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        choose(way, ways, "uno")


def test_the_surest_way_comes_first() -> None:
    assert choose(None, {"power": nothing, "signals": nothing}, "uno") == "power"
    assert choose("signals", {"power": nothing, "signals": nothing}, "uno") == "signals"


def test_a_person_is_asked_to_switch_it_where_there_is_one() -> None:
    board = Board("pi", "raspberry-pi-4", power={"kind": "manual", "where": "shelf 2"})
    model = load_model(board, None)
    asked: list[str] = []
    power = power_of(board, model, ask=asked.append)
    assert power is not None
    power.set(True)
    assert asked == ["Switch it on (shelf 2), then press Enter"]
    alone = power_of(board, model)
    assert alone is not None
    with pytest.raises(LabctlError, match="nobody to ask") as refused:
        alone.set(True)
    assert "terminal" in refused.value.action


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("boards/*/board.yaml")), ids=lambda path: path.parent.name
)
def test_the_steps_of_every_model_end(path: Path) -> None:
    steps = load_model(Board("x", path.parent.name), None).reset_signals()
    assert sum(step.seconds for step in steps) < 5
