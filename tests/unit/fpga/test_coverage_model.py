"""Coverage of many runs is the same in any order, any split, and however often it is merged."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.errors import UsageError
from labctl.fpga.coverage.model import CoverageData, Hits
from labctl.fpga.coverage.smallest import needed_runs
from labctl.fpga.coverage.store import load, save, shown

POINTS = ["level=9", "level=10", "move=in", "q[2] rises", "top.v:7", "ünï"]
hits = st.builds(
    Hits.of_counts,
    st.sampled_from(["functional", "toggle", "branch"]),
    st.sampled_from(["a", "b:W=2"]),
    st.dictionaries(st.sampled_from(POINTS), st.integers(0, 5)),
)
runs = st.lists(st.tuples(st.sampled_from("pqrstu"), st.lists(hits, max_size=3)), max_size=8)


def collected(some: list[tuple[str, list[Hits]]]) -> CoverageData:
    data = CoverageData()
    for run, reached in some:
        data.add(run, reached)
    return data


@given(runs, st.randoms(use_true_random=False), st.integers(1, 4))
def test_order_and_grouping_make_no_difference(
    some: list[tuple[str, list[Hits]]], rng: random.Random, parts: int
) -> None:
    whole = collected(some).as_data()
    shuffled = rng.sample(some, len(some))
    groups = [collected(shuffled[at::parts]) for at in range(parts)]
    rng.shuffle(groups)
    total = CoverageData()
    for group in [*groups, groups[0]]:  # one of them twice
        # Through a file, as between machines.
        total.merge(CoverageData.of_data(json.loads(json.dumps(group.as_data()))))
    assert total.as_data() == whole
    assert shown(total) == shown(collected(some))


@given(runs)
def test_totals_are_what_the_runs_say(some: list[tuple[str, list[Hits]]]) -> None:
    data = collected(some)
    expected: dict[tuple[str, str, str], dict[str, int]] = {}
    for run, reached in some:
        for one in reached:
            for at, point in enumerate(one.points):
                counts = expected.setdefault((one.kind, one.scope, point), {})
                counts[run] = max(counts.get(run, 0), one.counts.get(at, 0))
    found = {
        (one.kind, one.scope, point): count
        for one in data.summaries()
        for point, count in one.points.items()
    }
    assert found == {key: sum(counts.values()) for key, counts in expected.items()}


@given(runs)
def test_the_runs_that_are_needed_reach_everything(some: list[tuple[str, list[Hits]]]) -> None:
    data = collected(some)
    masks = dict(data.masks())
    everything = chosen = 0
    for mask in masks.values():
        everything |= mask
    for run, adds in needed_runs(data):
        assert adds == (masks[run] & ~chosen).bit_count() > 0
        # No other run would have added more.
        assert adds == max((mask & ~chosen).bit_count() for mask in masks.values())
        chosen |= masks[run]
    assert chosen == everything


def test_code_points_count_runs_and_bins_count_hits() -> None:
    data = CoverageData()
    for run in ("a", "b"):
        data.add(run, [Hits("toggle", "t", ("x rises", "x falls"), 0b01)])
        data.add(run, [Hits.of_counts("functional", "f", {"n=1": 3, "n=2": 0})])
    bins, bits = data.summaries()
    assert (dict(bins.points), bins.covered, bins.missing) == ({"n=1": 6, "n=2": 0}, 1, ["n=2"])
    assert (dict(bits.points), bits.total) == ({"x falls": 0, "x rises": 2}, 2)
    assert needed_runs(data) == [("a", 2)]


def test_points_are_sorted_as_people_count() -> None:
    data = CoverageData()
    data.add("a", [Hits("line", "f.v", ("12", "7", "100"), 0b111)])
    assert list(data.summaries()[0].points) == ["7", "12", "100"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not coverage"),
        ("[]", "not coverage"),
        ('{"schema": "labctl.fpga-test/1"}', "not coverage"),
        ('{"schema": "labctl.fpga-coverage/1", "scopes": 3, "runs": {}}', "not coverage"),
        (
            '{"schema": "labctl.fpga-coverage/1", "scopes": [{"kind": "line", "scope": "f",'
            ' "points": ["1"]}], "runs": {"a": [[0, "6", {}]]}}',
            "fewer points than were reached",
        ),
        (
            '{"schema": "labctl.fpga-coverage/1", "scopes": [{"kind": "lime", "scope": "f",'
            ' "points": ["1"]}], "runs": {}}',
            "unknown kind",
        ),
    ],
)
def test_a_file_that_is_no_coverage_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "c.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=words) as caught:
        load([file])
    assert "c.json" in str(caught.value)


def test_files_of_equal_coverage_are_equal(tmp_path: Path) -> None:
    one, other = tmp_path / "a", tmp_path / "b"
    first = [("r", [Hits("line", "f", ("1", "2"), 1)]), ("s", [Hits("line", "f", ("2", "1"), 1)])]
    save(one, collected(first))
    save(other, collected(first[::-1]))
    assert one.read_bytes() == other.read_bytes()
    assert load([one, other]).as_data() == load([other]).as_data()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load([tmp_path / "none"])
