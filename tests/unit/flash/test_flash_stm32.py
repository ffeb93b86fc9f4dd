"""The method stm32-uart against the simulated ROM, with everything that can go wrong on a wire."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulated import SimulatedBench, flash, patch_time

from labctl.boards.flash.method import FlashError, OtherBoardError, RefusedError, VerifyError
from labctl.errors import LabctlError

MODEL = "stm32-nucleo-f446re"
# As an adapter is wired for stm32loader: DTR to NRST, RTS to BOOT0.
RESET = {
    "signals": [{"dtr": True, "rts": True, "seconds": 0.02}, {"dtr": False}],
    "loader": [{"dtr": True, "rts": False, "seconds": 0.02}, {"dtr": False, "seconds": 0.02}],
}
F103 = {
    "chip": "stm32f103",
    "memory": {
        "flash": {"base": 0x08000000, "size": "128 KiB", "sectors": None, "erase_block": "1 KiB"}
    },
}
Make = Callable[..., SimulatedBench]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made: list[SimulatedBench] = []

    def make(
        flash_entry: dict[str, Any] | None = None, reset: bool = True, **settings: Any
    ) -> SimulatedBench:
        chip = settings.pop("simulated", {})
        entry = {"method": "stm32-uart", "region": "flash", **(flash_entry or {})}
        bench = SimulatedBench(
            MODEL, tmp_path / f"line{len(made)}", chip=chip,
            settings={"flash": [entry], **({"reset": RESET} if reset else {}), **settings},
        )  # fmt: skip
        patch_time(monkeypatch, bench)
        made.append(bench)
        return bench

    return make


def program(size: int, seed: int = 1) -> bytes:
    """Return bytes that begin as a program does: stack pointer, address of the reset handler."""
    head = (0x20005000).to_bytes(4, "little") + (0x08000009).to_bytes(4, "little")
    return head + random.Random(seed).randbytes(size - 8)


def cells(bench: SimulatedBench) -> bytes:
    chip: Any = bench.line.chip
    return bytes(chip.flash.read(0, chip.flash.size))


@pytest.mark.parametrize("simulated", ["stm32f446", "stm32f103"])
def test_it_is_written_verified_and_runs_and_is_skipped_the_next_time(
    make: Make, simulated: str
) -> None:
    more = F103 if simulated == "stm32f103" else {}
    bench = make(simulated={"chip": simulated}, **more)
    data = program(21_001)
    result = flash(bench, data)
    assert result.written
    assert result.digest.same
    assert cells(bench)[: len(data)] == data
    assert b"program 21004 bytes" in bench.line.read(1.0)
    busy = bench.line.board.state()["busy"]
    assert not flash(bench, data).written
    # Nothing was erased or programmed: only the program started once more.
    assert bench.line.board.state()["busy"] == busy + 1  # type: ignore[operator]
    assert b"program 21004 bytes" in bench.line.read(1.0)


def test_other_sectors_stay(make: Make) -> None:
    bench = make()
    flash(bench, program(0x60000 + 500))
    before = cells(bench)
    flash(bench, program(0x5000, seed=2))
    assert cells(bench)[:0x5000] == program(0x5000, seed=2)
    assert cells(bench)[0x8000:] == before[0x8000:]


def test_without_signals_it_needs_a_board_that_waits_and_starts_its_program(make: Make) -> None:
    bench = make(reset=False)
    with pytest.raises(FlashError, match="set BOOT0 high"):
        flash(bench, program(1000))
    bench.line.chip.set_pin("boot0", True)
    bench.line.board.reset()
    assert flash(bench, program(1000)).written
    assert b"program 1000 bytes" in bench.line.read(1.0)


def test_a_loader_that_somebody_left_in_mid_command_is_found(make: Make) -> None:
    bench = make(reset=False)
    bench.line.chip.set_pin("boot0", True)
    bench.line.board.reset()
    bench.line.set_parity("even")
    # After the sync: Write Memory, an address, and a size whose data never come.
    for part in (b"\x7f", b"\x31\xce", b"\x08\0\0\0\x08", b"\xff"):
        bench.line.write(part)
        bench.line.read(0.1)
    assert flash(bench, program(1000)).written


def test_another_chip_is_refused_before_anything_is_erased(make: Make) -> None:
    bench = make(simulated={"chip": "stm32f103"})
    before = cells(bench)
    with pytest.raises(OtherBoardError, match="its chip is stm32f103"):
        flash(bench, program(1000))
    assert cells(bench) == before


def test_a_swapped_board_is_refused(make: Make) -> None:
    flash(make(simulated={"serial": 1}), program(1000))
    other = make(simulated={"serial": 2})
    with pytest.raises(OtherBoardError, match="this is another board: its uid"):
        flash(other, program(1000, seed=2))
    assert set(cells(other)) == {0xFF}


def test_what_is_too_large_or_would_touch_what_is_kept_is_refused(make: Make) -> None:
    with pytest.raises(RefusedError, match="too large"):
        flash(make(), program(0x80004))
    keep = {
        "flash": {"keep": [{"offset": 0x4000, "size": "16 KiB", "what": "the settings"}]},
    }
    with pytest.raises(RefusedError, match="it would overwrite the settings"):
        flash(make(memory=keep), program(0x4010))


def test_a_protected_chip_is_refused_and_keeps_what_it_has(make: Make) -> None:
    bench = make()
    flash(bench, program(1000))
    chip: Any = bench.line.chip
    chip.keep_options(protected=True, locked=frozenset())
    with pytest.raises(RefusedError, match="protected from reading"):
        flash(bench, program(1000, seed=2))
    assert cells(bench)[:1000] == program(1000)


def test_success_is_not_reported_where_nothing_was_written(make: Make) -> None:
    bench = make()
    chip: Any = bench.line.chip
    chip.keep_options(protected=False, locked=frozenset({0}))
    with pytest.raises(VerifyError, match="write-protected"):
        flash(bench, program(1000))


def test_too_high_a_rate_is_left_for_one_that_works_and_not_tried_again(make: Make) -> None:
    bench = make({"rates": ["921600", "460800"]})
    rates: list[int] = []
    set_baud = bench.line.set_baud
    bench.line.set_baud = lambda rate: (rates.append(rate), set_baud(rate))[1]  # type: ignore[method-assign]
    assert flash(bench, program(2000)).written
    assert list(dict.fromkeys(rates)) == [921600, 460800, 115200]
    rates.clear()
    assert flash(bench, program(2000, seed=2)).written
    assert rates[0] == 460800
    assert 921600 not in rates


def test_a_rate_at_which_blocks_get_lost_is_left_for_a_lower_one(make: Make) -> None:
    bench = make({"rates": ["460800"]})
    for count in range(6):
        bench.line.board.fault({"kind": "flip", "way": "in", "after": 2000 + 700 * count})
    data = program(9000)
    assert flash(bench, data).written
    assert cells(bench)[: len(data)] == data
    job_rates = (bench.line.place.folder / "rates.json").read_text()
    assert "-" in job_rates  # it is noted as failed


def test_a_chip_that_loses_what_comes_while_it_answers_is_asked_step_by_step(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make(simulated={"paced": True})
    chip: Any = bench.line.chip
    monkeypatch.setattr(type(chip), "answer_s", 0.001)
    data = program(3000)
    assert flash(bench, data).written
    assert cells(bench)[: len(data)] == data
    assert bench.line.board.state()["lost"]


FAULTS = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["flip", "lose", "double"]),
            "way": st.sampled_from(["in", "out"]),
            "after": st.integers(0, 13_000),
        }
    ),
    st.fixed_dictionaries(
        {
            "deed": st.sampled_from(["off", "reset", "unplug"]),
            "what": st.sampled_from(["in", "out"]),
            "after": st.integers(1, 13_000),
        }
    ),
    st.fixed_dictionaries(
        {
            "deed": st.sampled_from(["off", "reset", "unplug"]),
            "what": st.just("busy"),
            "after": st.integers(1, 60),
        }
    ),
)


@pytest.mark.parametrize("simulated", ["stm32f446", "stm32f103"])
@pytest.mark.parametrize("reset", [True, False])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(faults=st.lists(FAULTS, min_size=1, max_size=3), size=st.integers(300, 6000))
def test_after_anything_at_any_point_the_next_flash_succeeds_and_the_rest_is_untouched(
    make: Make, simulated: str, reset: bool, faults: list[dict[str, Any]], size: int
) -> None:
    more = F103 if simulated == "stm32f103" else {}
    bench = make(simulated={"chip": simulated}, reset=reset, **more)
    board, chip = bench.line.board, bench.line.chip
    old = random.Random(7).randbytes(len(cells(bench)))
    chip.flash._cells[:] = old  # type: ignore[attr-defined]
    chip.set_pin("boot0", not reset)
    board.reset()
    # Sectors of 16 KiB, or pages of 1 KiB: what begins behind the image stays.
    behind = 0x4000 if simulated == "stm32f446" else -(-size // 1024) * 1024
    data = program(size)
    for fault in faults:
        board.fault(fault)
    try:
        assert flash(bench, data).written
    except LabctlError:
        pass
    else:
        assert cells(bench)[:size] == data
    assert cells(bench)[behind:] == old[behind:]
    board.fault({"clear": True})
    board.plug(True)
    chip.set_pin("boot0", not reset)
    board.power(True)
    if not reset:
        board.reset()
    bench.line.read(0.1)
    flash(bench, data)
    assert cells(bench)[:size] == data
    assert cells(bench)[behind:] == old[behind:]
