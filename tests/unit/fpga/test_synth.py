"""Scripts, reports, harness, figures and netlists of synthesis, without its programs."""

from __future__ import annotations

import json
import re
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.errors import DependencyError, LabctlError, UsageError
from labctl.fpga.choice import choose
from labctl.fpga.model import Clock, Core, Project, Target, Variant
from labctl.fpga.synth import design, programs, script
from labctl.fpga.synth.families import ECP5, ICE40, area_of
from labctl.fpga.synth.figures import figures, stands_in
from labctl.fpga.synth.gates import adapted
from labctl.fpga.synth.harness import clocks_of, harness
from labctl.fpga.synth.place import ClockResult, Place, read_clocks, worst_path
from labctl.fpga.synth.timing import Timing, Wanted
from labctl.fpga.synth.verilog import with_parameters

CORE = Core("fifo", Path("/p/fifo/core.yaml"), "", "fifo", (), target=Target())


# --- what yosys is told


@pytest.mark.parametrize(
    ("value", "constant"),
    [
        (5, "5"), (-1, "-1"), (2**31 - 1, "2147483647"), ("12", "12"), ("8'hFF", "8'hFF"),
        (2**31, "32'b1" + "0" * 31), (0xFFFFFFFF, "32'b" + "1" * 32), (2**32, "33'b1" + "0" * 32),
        ("a b", r'"\"a b\""'),
    ],
)  # fmt: skip
def test_parameters_keep_their_values(value: int | str, constant: str) -> None:
    one = design.Design("x", "x", Path("/p"), (Path("/p/rtl/x.v"),), parameters={"A": value})
    lines = script.reading(one)
    assert lines[0] == 'read_verilog -sv "rtl/x.v"'
    assert lines[1] == f"chparam -set A {constant} x"


@pytest.mark.parametrize("name", ['a".v', "a;b.v", "a\nb.v"])
def test_a_name_that_no_script_can_hold_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="rename it"):
        script.quoted(name)


def test_the_digest_follows_all_that_the_text_names(tmp_path: Path) -> None:
    (tmp_path / "rtl").mkdir()
    (tmp_path / "inc").mkdir()
    files = {
        "rtl/a.v": '`include "b.vh"\ninitial $readmemh("rom.hex", mem);\n',
        "inc/b.vh": '`include "c.vh"\n',
        "inc/c.vh": "// c\n",
        "rom.hex": "00\n",
        "other.hex": "00\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    source = Core(
        "x", tmp_path / "core.yaml", "", "x", (tmp_path / "rtl/a.v",), (tmp_path / "inc",)
    )
    one = design.of(source, Variant())
    before = design.digest(one)
    for name in ("rtl/a.v", "inc/b.vh", "inc/c.vh", "rom.hex"):
        (tmp_path / name).write_text(files[name] + "\n")
        assert design.digest(one) != before, name
        (tmp_path / name).write_text(files[name])
    (tmp_path / "other.hex").write_text("11\n")
    assert design.digest(one) == before
    # A text may name a file.
    named = design.of(source, Variant(parameters={"FILE": "other.hex"}))
    then = design.digest(named)
    (tmp_path / "other.hex").write_text("22\n")
    assert design.digest(named) != then


def test_a_design_in_vhdl_is_refused_with_the_way_out() -> None:
    with pytest.raises(LabctlError, match="ghdl --synth"):
        design.of(replace(CORE, sources=(Path("/p/a.vhd"),)), Variant())


# --- the harness

PORTS = {
    "clk": {"direction": "input", "bits": [2]},
    "m_clk": {"direction": "input", "bits": [3]},
    "d": {"direction": "input", "bits": [4, 5, 6]},
    "en": {"direction": "input", "bits": [7]},
    "q": {"direction": "output", "bits": [8, 9]},
}


def test_a_harness_has_every_port_once() -> None:
    clocks = clocks_of(PORTS, ["en"])
    assert clocks == {"clk", "m_clk", "en"}
    text = harness("fifo", PORTS, clocks_of(PORTS, []))
    assert "fifo core(.clk(clk), .m_clk(clk), .d(given[0 +: 3]), .en(given[3 +: 1]), " in text
    assert ".q(got[0 +: 2]))" in text
    assert "reg [3:0] given" in text


# --- what nextpnr reports

REPORT = {
    "fmax": {
        "clk$SB_IO_IN_$glb_clk": {"achieved": 43.06, "constraint": 48.0},
        "$glbnet$fast": {"achieved": 100.0, "constraint": 12.0},
    },
    "critical_paths": [
        {
            "from": "posedge clk", "to": "posedge clk",
            "path": [
                {"delay": 1.4, "type": "clk-to-q", "from": {"cell": "core.a_SB_DFF_Q_DFFLC"},
                 "to": {"cell": "core.a_SB_DFF_Q_DFFLC"}},
                {"delay": 21.9, "type": "logic", "from": {"cell": "x"}, "to": {"cell": "b$1_LC"}},
            ],
        },
        {"from": "<async>", "to": "posedge clk", "path": [{"delay": 99.0}]},
    ],
    "utilization": {},
}  # fmt: skip


def test_clocks_are_judged_by_the_report() -> None:
    wanted = (Clock("clk", 48.0), Clock("slow", 1.0), Clock("fast", 100.0))
    clocks = read_clocks(REPORT, wanted)
    assert [(one.signal, one.wanted, one.reached, one.passed) for one in clocks] == [
        ("clk", 48.0, 43.06, False), ("slow", 1.0, None, True), ("fast", 100.0, 100.0, True),
    ]  # fmt: skip
    assert read_clocks(REPORT, ())[0] == ClockResult("clk", None, 43.06)
    assert worst_path(REPORT) == "23.3 ns, 1 cells: core.a to b"
    assert worst_path({}) == ""


def place(seed: int, *clocks: ClockResult) -> Place:
    return Place(seed, clocks, {}, "", Path("x"), fresh=True)


def timing(*places: Place, error: LabctlError | None = None) -> Timing:
    return Timing(Wanted(CORE, "fifo", {}), {"LUT": 32, "RAM": 1, "DSP": 0}, places, {}, error)


def test_the_best_place_is_the_one_with_the_largest_margin() -> None:
    tight = [place(1, ClockResult("a", 50.0, 49.0), ClockResult("b", 1.0, 90.0)),
             place(2, ClockResult("a", 50.0, 51.0), ClockResult("b", 1.0, 2.0))]  # fmt: skip
    assert timing(*tight).best.seed == 2
    assert timing(*tight).status == "passed"
    assert timing(tight[0]).status == "failed"
    free = [place(1, ClockResult("a", None, 30.0)), place(2, ClockResult("a", None, 40.0))]
    assert (timing(*free).best.seed, timing(*free).status) == (2, "measured")
    assert timing(error=LabctlError("no")).status == "error"


def test_figures_promise_the_worst_seed(tmp_path: Path) -> None:
    some = [place(n, ClockResult("clk", 48.0, mhz)) for n, mhz in ((1, 55.64), (2, 56.2), (3, 57))]
    text = "32 LUT, 1 RAM; 55.6 MHz, the worst of three place seeds (55.6, 56.2, 57.0)"
    assert figures(timing(*some)) == text
    readme = tmp_path / "README.md"
    broken = text.replace("worst of", "worst\n  of")
    readme.write_text(f"# x\n\n{broken}. Default.\n")
    assert stands_in(timing(*some), readme)
    assert not stands_in(timing(*some[:2]), readme)
    assert not stands_in(timing(*some), tmp_path / "none.md")


def test_cells_are_counted_by_kind() -> None:
    cells = ["SB_LUT4", "SB_DFF", "SB_DFFESR", "SB_RAM40_4K", "SB_CARRY"]
    assert area_of(ICE40, cells) == {"LUT": 1, "FF": 2, "RAM": 1, "DSP": 0}
    assert ECP5.rule("clk", 25.0) == 'FREQUENCY PORT "clk" 25 MHZ;'


# --- netlists that a testbench takes for the core


@pytest.mark.parametrize(
    ("bits", "line"),
    [
        (f"{8:032b}", "parameter A = 8;"),
        ("1" * 32, "parameter A = -1;"),
        ("0101", "parameter [3:0] A = 4'b0101;"),
        ("rom.hex", 'parameter A = "rom.hex";'),
        ("0101 ", 'parameter A = "0101";'),
    ],
)
def test_a_netlist_declares_the_parameters(tmp_path: Path, bits: str, line: str) -> None:
    path = tmp_path / "n.json"
    path.write_text(json.dumps({"modules": {"f": {"parameter_default_values": {"A": bits}}}}))
    text = with_parameters("/* y */\n\nmodule f(clk,\n q);\n  input clk;\n", "f", path)
    assert text == f"/* y */\n\nmodule f(clk,\n q);\n  {line}\n  input clk;\n"


MODELS = """`define SB_DFF_INIT initial Q = 0;
// `define SB_DFF_INIT
module M(
\tinput E `ICE40_DEFAULT_ASSIGNMENT_1,
\tinput  [15:0] MASK `ICE40_DEFAULT_ASSIGNMENT_V(16'h 0000),
\tinput RE `ICE40_DEFAULT_ASSIGNMENT_0
);
"""


def test_models_of_cells_are_as_icarus_reads_them() -> None:
    text = adapted(MODELS, "x")
    assert "ICE40_DEFAULT" not in text
    for line in ("input tri1 E,", "input tri0  [15:0] MASK,", "input tri0 RE\n"):
        assert line in text
    assert re.search(r"^`define SB_DFF_INIT$", text, re.MULTILINE)
    assert "`define SB_DFF_INIT initial Q = 0;" in adapted(MODELS, "zero")


# --- which cores


def core(name: str, *variants: str) -> Core:
    return replace(CORE, name=name, variants=tuple(Variant(one) for one in variants or ("",)))


PROJECT = Project(Path("/p"), (core("fifo", "small", "wide"), core("uart")))


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ([], [("fifo", 2, False), ("uart", 1, False)]),
        (["u*"], [("uart", 1, False)]),
        (["fifo:w*"], [("fifo", 1, True)]),
        (["fifo:wide", "fifo"], [("fifo", 2, False)]),
    ],
)
def test_cores_are_chosen_by_name(patterns: list[str], names: list[tuple[str, int, bool]]) -> None:
    found = [(one.core.name, len(one.variants), one.named) for one in choose(PROJECT, patterns)]
    assert found == names


def test_a_pattern_that_names_no_core_is_an_error() -> None:
    with pytest.raises(UsageError, match="did you mean 'uart'"):
        choose(PROJECT, ["uatr"])


# --- the programs

FAKE = """#!{python}
import sys, pathlib
calls = pathlib.Path({calls!r})
with calls.open("a") as log:
    log.write("x")
print("fake 1.0")
"""


def test_the_first_call_of_yowasp_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"
    program = tmp_path / "yowasp-labctl-none"
    program.write_text(FAKE.format(python=sys.executable, calls=str(calls)))
    program.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    wanted = programs.Wanted("labctl-none", "none", "yowasp-none")
    found: list[programs.Program] = []
    threads = [
        threading.Thread(target=lambda: found.append(programs.find(wanted))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls.read_text() == "x"
    assert found == [programs.Program(str(program), "fake 1.0", yowasp=True)] * 4


def test_programs_are_told_of_files_by_relative_names(tmp_path: Path) -> None:
    # YoWASP's have a /tmp of their own; and a working directory may be reached by a link.
    (tmp_path / "real/design").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real/design")
    assert programs.near(tmp_path / "out/x.json", tmp_path / "link") == "../../out/x.json"


def test_a_missing_program_names_both_ways_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for debian, ways in (("pkg", "apt install pkg or pip install w"), ("", "pip install w")):
        with pytest.raises(DependencyError) as error:
            programs.find(programs.Wanted("labctl-none", debian, "w"))
        assert error.value.action == ways


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["from", "to", "path"]), st.just([]), max_size=3))
def test_a_report_without_paths_has_no_worst_one(path: dict[str, list[int]]) -> None:
    assert worst_path({"critical_paths": [path]}) == ""
