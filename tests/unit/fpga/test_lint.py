"""What linters print is read; waivers take away what they name, and say when they are stale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.fpga.lint.finding import Finding, Linter
from labctl.fpga.lint.linters import icarus, verible, verilator, yosys
from labctl.fpga.lint.run import LINTERS
from labctl.fpga.lint.waivers import waive
from labctl.fpga.model import Core, Variant, Waiver
from labctl.fpga.readers.core_file import read_core

MakeCore = Callable[..., Path]
CORE = Core("b", Path("/p/b/core.yaml"), "", "b", (Path("/p/b/rtl/b.v"),))
# As Icarus 11.0, Verilator 5.006, yosys 0.23 and Verible's README say them.
ICARUS = """rtl/b.v:11: warning: Constant bit select [5] is after vector x[2:0].
rtl/b.v:11:        : Replacing select with a constant 1'bx.
rtl/b.v:9: warning: Port 1 (x) of sub expects 3 bits, got 4.
rtl/b.v:9:        : Pruning 1 high bits of the expression.
rtl/b.v:7: error: Unable to bind wire/reg/memory `n' in `b'
rtl/b.v:2: syntax error
1 error(s) during elaboration.
error: Unable to find the root module "nope" in the Verilog source.
     : Perhaps ``-s nope'' is incorrect?
"""
VERILATOR = """%Warning-PINCONNECTEMPTY: rtl/b.v:9:17: Cell pin connected by name with empty name
    9 |   sub s(.x(a), .y());
      |                 ^
                          ... For warning description see https://verilator.org/warn/X?v=5.006
%Error: rtl/b.v:2:12: syntax error, unexpected ';', expecting TYPE-IDENTIFIER
%Error: Specified --top-module 'nope' was not found in design.
%Error: Exiting due to 1 error(s), 2 warning(s)
"""
YOSYS = """1. Executing Verilog-2005 frontend: rtl/b.v
rtl/b.v:7: Warning: Identifier `\\n' is implicitly declared.
Warning: Resizing cell port b.s.x from 4 bits to 3 bits.
Latch inferred for signal `\\b.\\l' from process `\\b.$proc$rtl/b.v:8$5': $auto$proc_dlatch
Warning: Replacing memory \\some.line with list of registers. See rtl/b.v:27
Warning: Wire b.\\n is used but has no driver.
ERROR: Module `\\foo' referenced in module `\\e' in cell `\\bar' is not part of the design.
Warnings: 3 unique messages, 3 total
"""
VERIBLE = """rtl/b.v:3:101-120: Line length exceeds max: 100 [Style: line-length] [line-length]
rtl/b.v:5:9: syntax error at token ";"
"""


@pytest.mark.parametrize(
    ("linter", "output", "expected"),
    [
        (icarus, ICARUS, [
            ("warning", "select-range", 11), ("warning", "portbind", 9), ("error", "error", 7),
            ("error", "syntax", 2), ("error", "error", 0),
        ]),
        (verilator, VERILATOR, [
            ("warning", "PINCONNECTEMPTY", 9), ("error", "syntax", 2), ("error", "error", 0),
        ]),
        (yosys, YOSYS, [
            ("warning", "implicit", 7), ("warning", "width", 0), ("warning", "latch", 8),
            ("warning", "memory", 27), ("warning", "no-driver", 0), ("error", "error", 0),
        ]),
        (verible, VERIBLE, [("warning", "line-length", 3), ("error", "syntax", 5)]),
    ],
    ids=["icarus", "verilator", "yosys", "verible"],
)  # fmt: skip
def test_what_they_print_is_read(
    linter: Linter, output: str, expected: list[tuple[str, str, int]]
) -> None:
    found = linter.read(output, CORE)
    assert [(one.severity, one.rule, one.line) for one in found] == expected
    for one in found:
        assert one.tool == linter.NAME
        assert one.path == (Path("/p/b/rtl/b.v") if one.line else None)


@settings(deadline=None)
@given(st.text(max_size=300), st.sampled_from(LINTERS))
def test_no_output_breaks_a_reader(output: str, linter: Linter) -> None:
    for one in linter.read(output, CORE):
        assert one.message
        assert "\n" not in one.message


def test_parameters_reach_verilator_without_a_width() -> None:
    # Of a plain 16 it would say that it has 32 bits, wherever it is used.
    variant = Variant("", {"A": 16, "B": -1, "C": "text", "D": "8'hff", "E": 2**40})
    command = verilator.command(CORE, variant, "verilator")
    assert [one for one in command if one.startswith("-G")] == [
        "-GA='sd16", "-GB=-1", '-GC="text"', "-GD=8'hff", f"-GE={2**40}",
    ]  # fmt: skip


WIDTH = Finding("verilator", "warning", "WIDTH", "expects 8 bits", Path("/p/b/rtl/b.v"), 3)
OTHER = replace(WIDTH, rule="UNUSED", message="Signal is not used: 'x'")


@pytest.mark.parametrize(
    "waiver",
    [
        Waiver("why", rule="WIDTH"),
        Waiver("why", rule="W*", tool="verilator"),
        Waiver("why", message="expects * bits", file="rtl/*.v"),
        Waiver("why", rule="WIDTH", file="rtl/b.v"),
    ],
)
def test_a_waiver_takes_what_it_names_and_no_more(waiver: Waiver) -> None:
    core = replace(CORE, waivers=(waiver,))
    left, waived = waive(core, [WIDTH, OTHER], {"verilator"})
    assert (left, waived) == ([OTHER], [(WIDTH, waiver)])


@pytest.mark.parametrize(
    ("waiver", "asked", "stale"),
    [
        (Waiver("why", tool="verilator", rule="LATCH", line=7), {"icarus", "verilator"}, True),
        (Waiver("why", tool="verilator", rule="LATCH"), {"icarus"}, False),
        (Waiver("why", rule="LATCH"), {"icarus", "verilator"}, False),
        (Waiver("why", rule="LATCH"), {"icarus", "verilator", "yosys", "verible"}, True),
    ],
)
def test_a_waiver_that_waives_nothing_is_told_where_that_is_known(
    waiver: Waiver, asked: set[str], stale: bool
) -> None:
    core = replace(CORE, waivers=(waiver,))
    left, _ = waive(core, [], asked)
    assert [(one.rule, one.path, one.line) for one in left] == (
        [("waiver", core.path, waiver.line)] if stale else []
    )


def test_waivers_are_read_with_their_lines(make_core: MakeCore) -> None:
    core = read_core(
        make_core(
            "description: A wire\ntop: wire_\nsources: [rtl/wire.v]\nlint:\n  waivers:\n"
            "    - {rule: WIDTH, reason: it is right}\n"
            "    - {message: '*x*', tool: yosys, file: rtl/wire.v, reason: that too}\n"
        )
    )
    assert core.waivers == (
        Waiver("it is right", rule="WIDTH", line=6),
        Waiver("that too", "yosys", "", "rtl/wire.v", "*x*", 7),
    )
