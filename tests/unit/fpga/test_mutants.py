"""Lists of mutants are read, those that change nothing are left out, the selector reads a file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.fpga.mutate.build import SELECTOR, numbered, width_for, with_selector
from labctl.fpga.mutate.mutants import read_list
from labctl.fpga.synth.netlist import SynthesisError

# As yosys 0.23 writes it.
LISTED = """mutate -mode inv -module f -cell $add$rtl/a b.v:42$32 -port Y -portbit 2 -wire level \
-wirebit 2 -src rtl/f.v:27.34-27.39 -src rtl/a b.v:42.22-42.60
mutate -mode const1 -module f -cell $ne$rtl/f.v:39$27 -port A -portbit 0 -src rtl/f.v:39.19-39.30
mutate -mode cnot1 -module f -cell mem -port WR_DATA -portbit 1 -ctrlbit 0 -wire d -wirebit 4
mutate -mode const0 -module f -cell $auto$ff.cc:266:slice$80 -port Q -portbit 0
""".replace("\\\n", "")
CELLS = {
    "f": {
        "$add$rtl/a b.v:42$32": {"Y": [1, 2, 3]},
        "$ne$rtl/f.v:39$27": {"A": [4]},
        "mem": {"WR_DATA": [5, 6]},
        "$auto$ff.cc:266:slice$80": {"Q": [7]},
    }
}


def test_a_list_is_read_as_yosys_wrote_it() -> None:
    lines = numbered(LISTED, CELLS)
    assert lines[0].startswith(f"mutate -ctrl {SELECTOR} 3 1 -mode inv -module f ")
    mutants = read_list("\n".join(lines))
    assert [one.number for one in mutants] == [1, 2, 3, 4]
    assert [one.describe() for one in mutants] == [
        "add.Y[2] (level) inverted", "ne.A[0] stuck at 1",
        "mem.WR_DATA[1] (d) inverted while bit 0 is 1", "register.Q[0] stuck at 0",
    ]  # fmt: skip
    assert [one.place for one in mutants] == [
        ("rtl/a b.v", 42), ("rtl/f.v", 39), ("", 0), ("", 0)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "bits", "kept"),
    [
        ("const1", ["1"], False), ("const0", ["0"], False), ("const1", ["0"], True),
        ("inv", ["x"], False), ("inv", ["1"], True), ("cnot0", [4, "1"], False),
        ("cnot1", [4, "0"], False), ("cnot1", [4, "1"], True), ("cnot0", [4, 5], True),
    ],
)  # fmt: skip
def test_what_changes_nothing_is_left_out(mode: str, bits: list[int | str], kept: bool) -> None:
    control = " -ctrlbit 1" if mode.startswith("cnot") else ""
    line = f"mutate -mode {mode} -module f -cell c -port A -portbit 0{control}"
    assert bool(numbered(line, {"f": {"c": {"A": bits}}})) is kept


def test_ports_of_memories_that_are_constants_are_left_out() -> None:
    line = "mutate -mode inv -module f -cell mem -port {} -portbit 0"
    listed = "\n".join(line.format(port) for port in ("RD_EN", "WR_EN", "RD_ADDR", "WR_CLK"))
    cells = {"f": {"mem": {port: [1] for port in ("RD_EN", "WR_EN", "RD_ADDR", "WR_CLK")}}}
    assert [one.port for one in read_list("\n".join(numbered(listed, cells)))] == [
        "WR_EN", "RD_ADDR",
    ]  # fmt: skip


@settings(deadline=None)
@given(st.integers(1, 100_000))
def test_the_selector_has_room_for_all_and_for_none(count: int) -> None:
    assert count < 2 ** width_for(count) <= 2 * count or count == 1


NETLIST = """module sub(labctl_mutant);
  input [2:0] labctl_mutant;
  wire [2:0] labctl_mutant;
endmodule
module f(clk);
  wire [2:0] labctl_mutant;
  assign x = labctl_mutant == 3'h1;
endmodule
"""


def test_the_selector_of_the_top_reads_a_file() -> None:
    text = with_selector(NETLIST, "f", 3)
    before, _, after = text.partition("module f(clk);")
    assert "wire [2:0] labctl_mutant;" in before
    assert after.count("labctl_mutant;") == 0
    assert "reg [2:0] labctl_mutant = 0;" in after
    assert '$fopen("labctl_mutant", "r")' in after


@pytest.mark.parametrize("top", ["sub2", "g"])
def test_a_netlist_without_a_selector_has_no_mutants(top: str) -> None:
    with pytest.raises(SynthesisError, match="nothing in it to change"):
        with_selector(NETLIST.replace("wire [2:0] labctl_mutant;\n  assign", "assign"), top, 3)


@pytest.mark.parametrize("line", ["mutate -mode inv", "mutate -ctrl a b -mode inv -module f"])
def test_a_line_that_is_no_mutant_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not a mutant"):
        read_list(line)
