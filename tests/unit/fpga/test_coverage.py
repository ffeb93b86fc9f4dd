"""Functional coverage: bins are counted, closed or named; runs add up in any order."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("cocotb")

from labctl.fpga.tb.coverage import FOLDER_VARIABLE, Coverage, merge

counts = st.dictionaries(
    st.sampled_from("ab"), st.dictionaries(st.sampled_from("xyz"), st.integers(0, 99))
)


def test_missing_bins_are_named() -> None:
    coverage = Coverage("fifo", level=range(3), move=("in", "out"))
    coverage.hit("level", 1)
    coverage.hit("move", "in")
    assert coverage.missing() == ["level=0", "level=2", "move=out"]
    assert not coverage.closed
    with pytest.raises(AssertionError, match="level=0, level=2, move=out"):
        coverage.assert_closed()


def test_a_value_without_a_bin_is_a_mistake() -> None:
    coverage = Coverage("fifo", level=range(3))
    with pytest.raises(AssertionError, match="level has no bin '3'"):
        coverage.hit("level", 3)


def test_counts_are_left_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    coverage = Coverage("fifo", level=range(2))
    for level in (0, 1, 1):
        coverage.hit("level", level)
    assert coverage.closed
    coverage.assert_closed()
    assert json.loads((tmp_path / "fifo.json").read_text()) == {"level": {"0": 1, "1": 2}}


@given(st.lists(counts, max_size=5), st.randoms())
def test_the_order_of_runs_does_not_matter(runs: list[dict], random: object) -> None:
    shuffled = list(runs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    total = merge(runs)
    assert merge(shuffled) == total
    assert merge([merge(runs[:2]), merge(runs[2:])]) == total
    for point, bins in total.items():
        for key, count in bins.items():
            assert count == sum(run.get(point, {}).get(key, 0) for run in runs)
