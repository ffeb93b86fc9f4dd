"""Bits that rise and fall, from dumps as simulators write them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.fpga.coverage.model import Hits
from labctl.fpga.coverage.toggles import toggled

# As Icarus 11 and GHDL 2 write it.
HEAD = """$date today $end $version Icarus Verilog $end $timescale 1ps $end
$scope module top $end
$var wire 1 ! clk $end
$var reg 4 " q [3:0] $end
$var parameter 32 # WIDTH $end
$var integer 32 $ i $end
$scope module u $end
$var wire 4 " also [0:3] $end
$var wire 1 % bit [5] $end
$upscope $end
$upscope $end
$enddefinitions $end
"""


def reached(text: str) -> set[str]:
    hits = toggled(text.encode().splitlines(keepends=True), "s")
    return named(hits)


def named(hits: Hits) -> set[str]:
    return {point for at, point in enumerate(hits.points) if hits.mask >> at & 1}


def test_every_bit_of_every_signal_is_a_point() -> None:
    hits = toggled(HEAD.encode().splitlines(keepends=True), "s")
    bits = ["clk", *(f"q[{at}]" for at in range(4)), *(f"u.also[{at}]" for at in range(4))]
    assert set(hits.points) == {
        f"{bit} {way}" for bit in [*bits, "u.bit[5]"] for way in ("rises", "falls")
    }
    assert hits.mask == 0


def test_only_changes_between_known_values_count() -> None:
    text = HEAD + '#0\n$dumpvars\nx!\nbx "\n0%\n$end\n#1\n0!\nb1010 "\n#2\n1!\nb110 "\nz%\n'
    assert reached(text) == {
        "clk rises", "q[3] falls", "q[2] rises", "u.also[0] falls", "u.also[1] rises",
    }  # fmt: skip


def test_short_values_are_extended() -> None:
    assert reached(HEAD + 'b1111 "\nb0 "\n') >= {f"q[{at}] falls" for at in range(4)}
    assert reached(HEAD + 'b0 "\nbz "\nb1111 "\n') == set()


def test_a_line_that_is_half_written_is_not_believed() -> None:
    assert reached(HEAD + "0!\n1!") == set()


@pytest.mark.parametrize("text", ["", "nonsense", "$scope module", HEAD.partition("$enddef")[0]])
def test_what_is_no_dump(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        toggled(text.encode().splitlines(keepends=True), "s")


@given(st.lists(st.text(alphabet="01xz", min_size=4, max_size=4), min_size=1, max_size=12))
def test_against_a_definition_by_bits(values: list[str]) -> None:
    text = HEAD + "".join(f'b{value} "\n' for value in values)
    expected = set()
    for before, after in itertools.pairwise(values):
        for at in range(4):
            if before[at] + after[at] in ("01", "10"):
                way = "rises" if after[at] == "1" else "falls"
                expected |= {f"q[{3 - at}] {way}", f"u.also[{at}] {way}"}
    assert reached(text) == expected
