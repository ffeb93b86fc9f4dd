"""The method esp-rom, with real esptool, against the simulated ESP32, and all that can go wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulated import SimulatedBench, flash, patch_time

from labctl.boards.flash.method import OtherBoardError, RefusedError
from labctl.errors import LabctlError
from labctl.vlab.rom.esp32 import image

pytest.importorskip("esptool", reason="needs esptool (pip install esptool)")

MODEL = "esp32-devkitc"
PROGRAM = 0x10000
Make = Callable[..., SimulatedBench]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made: list[SimulatedBench] = []

    def make(
        entry: dict[str, Any] | None = None, chip: dict[str, object] | None = None, **more: Any
    ) -> SimulatedBench:
        method = {"method": "esp-rom", "region": "flash", "offset": PROGRAM, **(entry or {})}
        bench = SimulatedBench(
            MODEL, tmp_path / f"line{len(made)}", chip={"chip": "esp32", **(chip or {})},
            settings={"flash": [method], **more},
        )  # fmt: skip
        patch_time(monkeypatch, bench)
        # esptool sleeps between its attempts; the clock of the board runs on instead.
        idle = SimpleNamespace(sleep=bench.line.idle, time=lambda: bench.line.now)
        monkeypatch.setattr("esptool.loader.time", idle)
        monkeypatch.setattr(
            "labctl.boards.flash.esp.port.time", SimpleNamespace(monotonic=lambda: bench.line.now)
        )
        made.append(bench)
        return bench

    return make


def program(size: int, seed: int = 1) -> bytes:
    return image([(0x400D0020, random.Random(seed).randbytes(size // 4 * 4))])


def cells(bench: SimulatedBench, at: int = 0, size: int = 0x400000) -> bytes:
    chip: Any = bench.line.chip
    return bytes(chip.flash.read(at, size))


def test_it_is_written_verified_and_runs_and_is_skipped_the_next_time(make: Make) -> None:
    bench = make()
    data = program(30_000)
    before = cells(bench)
    result = flash(bench, data)
    assert result.written
    assert result.digest.same
    after = cells(bench)
    assert after[PROGRAM:][: len(data)] == data
    assert after[:PROGRAM] == before[:PROGRAM]
    assert after[PROGRAM + 0x8000 :] == before[PROGRAM + 0x8000 :]
    assert f"program {len(data)} bytes".encode() in bench.line.read(1.0) + bench.line.read(1.0)
    assert not flash(bench, data).written


def test_only_what_differs_is_sent(make: Make) -> None:
    bench = make()
    data = program(300_000)
    flash(bench, data)
    sent = bench.line.board.state()["in"]
    changed = bytearray(data)
    changed[150_000] ^= 1
    changed[-1] ^= 1  # the checksum of the image
    assert flash(bench, bytes(changed)).written
    assert cells(bench, PROGRAM, len(data)) == bytes(changed)
    # Two of five pieces, besides the stub.
    assert bench.line.board.state()["in"] - sent < 160_000  # type: ignore[operator]


def test_what_is_no_image_for_this_chip_is_refused_before_anything_is_touched(make: Make) -> None:
    bench = make()
    with pytest.raises(RefusedError, match="no firmware image"):
        flash(bench, b"data" * 100)
    with pytest.raises(RefusedError, match="for the chip with ID 5"):
        flash(bench, image([(0x3FC80000, b"code")], chip_id=5))
    with pytest.raises(RefusedError, match="too large"):
        flash(bench, program(0x400000))
    assert bench.line.board.state()["busy"] in (1, 2, 3)  # it started, and started again
    assert flash(make({"offset": 0x8000, "any": True}), b"data" * 100).written


def test_another_chip_and_another_board_are_refused(make: Make) -> None:
    with pytest.raises(OtherBoardError, match="its chip is esp32, and its model"):
        flash(_other(make), program(1000))
    flash(make(chip={"serial": 1}), program(1000))
    swapped = make(chip={"serial": 2})
    with pytest.raises(OtherBoardError, match="this is another board: its mac"):
        flash(swapped, program(1000, seed=2))
    assert set(cells(swapped, PROGRAM, 1000)) == {0xFF}


def _other(make: Make) -> SimulatedBench:
    bench = make()
    bench.model = replace(bench.model, data={**bench.model.data, "chip": "esp32c3"})
    return bench


def test_a_rate_that_the_cable_does_not_carry_is_left_and_not_tried_again(make: Make) -> None:
    bench = make({"rates": ["921600", "460800"]}, chip={"most_baud": 500_000})
    rates: list[int] = []
    set_baud = bench.line.set_baud
    bench.line.set_baud = lambda rate: (rates.append(rate), set_baud(rate))[1]  # type: ignore[method-assign]
    assert flash(bench, program(20_000)).written
    assert 921600 in rates
    assert 460800 in rates
    rates.clear()
    assert flash(bench, program(20_000, seed=2)).written
    assert 460800 in rates
    assert 921600 not in rates


def test_without_the_stub_it_is_slower_and_as_good(make: Make) -> None:
    bench = make({"stub": False})
    data = program(5000)
    assert flash(bench, data).written
    assert cells(bench, PROGRAM, len(data)) == data


FAULTS = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["flip", "lose", "double"]),
            "way": st.sampled_from(["in", "out"]),
            "after": st.integers(0, 25_000),
        }
    ),
    st.fixed_dictionaries(
        {
            "deed": st.sampled_from(["off", "reset", "unplug"]),
            "what": st.sampled_from(["in", "out"]),
            "after": st.integers(1, 25_000),
        }
    ),
    st.fixed_dictionaries(
        {
            "deed": st.sampled_from(["off", "reset", "unplug"]),
            "what": st.just("busy"),
            "after": st.integers(1, 20),
        }
    ),
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(faults=st.lists(FAULTS, min_size=1, max_size=3), size=st.integers(3000, 12_000))
def test_after_anything_at_any_point_the_next_flash_succeeds_and_the_rest_is_untouched(
    make: Make, faults: list[dict[str, Any]], size: int
) -> None:
    bench = make()
    board, chip = bench.line.board, bench.line.chip
    old = random.Random(7).randbytes(0x40000)
    chip.flash._cells[: len(old)] = old  # type: ignore[attr-defined]
    data = program(size)
    behind = -(-(PROGRAM + len(data)) // 0x1000) * 0x1000

    def rest() -> tuple[bytes, bytes]:
        return cells(bench, 0, PROGRAM), cells(bench, behind, len(old) - behind)

    untouched = rest()
    for fault in faults:
        board.fault(fault)
    try:
        assert flash(bench, data).written
    except LabctlError:
        pass
    else:
        assert cells(bench, PROGRAM, len(data)) == data
    assert rest() == untouched
    board.fault({"clear": True})
    board.plug(True)
    board.power(True)
    bench.line.read(0.1)
    flash(bench, data)
    assert cells(bench, PROGRAM, len(data)) == data
    assert rest() == untouched
