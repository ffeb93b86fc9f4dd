"""Which free cards fit."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.errors import UsageError
from labctl.facts.gpu.card import GpuFacts, make_card
from labctl.facts.value import Known, absent
from labctl.gpu.choose import Wish, fitting, pick, size
from labctl.gpu.reading import Reading, Unit
from labctl.gpu.rule import Verdict
from labctl.gpu.show import Line
from labctl.gpu.state import State

GIB = 1 << 30


def line(host: str, index: int, gib: int | None, state: str = "free", **more: Any) -> Line:
    card = make_card(
        {
            "index": Known(index),
            "memory_total": absent() if gib is None else Known(gib * GIB),
            "memory_used": Known(0),
        }
    )
    return Line(Reading(host, GpuFacts("x")), Unit(card), Verdict(State(state), "", **more))


def names(found: list[Line] | None) -> list[str] | None:
    return found and [f"{one.reading.host}:{one.unit.name}" for one in found]


LAB = [
    line("a", 0, 80), line("a", 1, 24), line("a", 2, 80, "busy"), line("b", 0, 24),
    line("b", 1, 24), line("b", 2, 24, "unknown"), line("c", 0, None),
    line("c", 1, 24, "booked", person="ann"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (Wish(), ["a:1"]),
        (Wish(memory=40 * GIB), ["a:0"]),
        (Wish(count=2, memory=40 * GIB), None),
        (Wish(count=4), ["a:1", "b:0", "b:1", "a:0"]),
        (Wish(count=5), None),
        (Wish(count=5, person="ann"), ["a:1", "b:0", "b:1", "c:1", "a:0"]),
        (Wish(count=2, same_host=True), ["a:1", "a:0"]),
        (Wish(count=2, same_host=True, memory=20 * GIB), ["a:1", "a:0"]),
        (Wish(count=3, same_host=True), None),
    ],
)
def test_what_is_picked(wish: Wish, expected: list[str] | None) -> None:
    assert names(pick(LAB, wish)) == expected


def test_of_equal_cards_the_one_without_a_note_comes_first() -> None:
    noted = line("a", 0, 24, notes=("slowed down",))
    assert names(fitting([noted, line("a", 1, 24)], Wish())) == ["a:1", "a:0"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("40G", 40 * GIB), ("40GiB", 40 * GIB), ("0.5g", GIB // 2), ("100", 100), ("1 MB", 1 << 20)],
)
def test_sizes(text: str, value: int) -> None:
    assert size(text) == value


@pytest.mark.parametrize("text", ["", "G", "4X", "-1G", "many"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(UsageError):
        size(text)


@given(
    st.lists(
        st.builds(
            line,
            st.sampled_from(["a", "b", "c"]),
            st.integers(0, 7),
            st.one_of(st.none(), st.sampled_from([8, 24, 80])),
            st.sampled_from([str(state) for state in State]),
        ),
        max_size=12,
    ),
    st.builds(
        Wish,
        count=st.integers(1, 4),
        memory=st.sampled_from([0, 24 * GIB, 80 * GIB]),
        same_host=st.booleans(),
    ),
)
def test_what_is_picked_is_free_and_fits(lines: list[Line], wish: Wish) -> None:
    found = pick(lines, wish)
    good = [
        one
        for one in lines
        if one.verdict.state is State.FREE
        and isinstance(one.unit.memory_total, Known)
        and one.unit.memory_total.value >= wish.memory
    ]
    hosts = [one.reading.host for one in good]
    possible = (
        max(map(hosts.count, hosts), default=0) >= wish.count
        if wish.same_host
        else len(good) >= wish.count
    )
    assert (found is not None) == possible
    if found is not None:
        assert len(found) == wish.count
        assert all(one in good for one in found)
        assert not wish.same_host or len({one.reading.host for one in found}) == 1
