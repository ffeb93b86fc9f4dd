"""FuseSoC's .core files: file sets, what they depend on, targets, parameters, conditions."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl.errors import UsageError
from labctl.fpga.discovery import discover
from labctl.fpga.model import Core

TEST = "import cocotb\n\n\n@cocotb.test()\nasync def test_it(dut):\n    pass\n"
CORE = """CAPI=2:
name: lab:ip:blinker:1.2.0
description: A blinker
filesets:
  rtl:
    files:
      - rtl/blinker.v
      - rtl/defs.vh: {is_include_file: true}
      - "tool_verilator ? (rtl/only.vlt)"
      - "!tool_icarus ? (rtl/none.v)"
    file_type: verilogSource
    depend: [">=lab:util:sync:1.0", "!tool_icarus ? (lab:util:none)"]
  tb:
    files:
      - tb/test_blink.py: {file_type: user}
      - tb/table.hex: {file_type: user}
targets:
  default: &default
    filesets: [rtl]
    toplevel: blinker
  sim:
    <<: *default
    filesets_append: [tb]
    flow: sim
    flow_options:
      tool: icarus
      cocotb_module: test_blink
      iverilog_options: [-g2012, -Wno-portbind]
    parameters: [WIDTH=12, FAST, QUIET, "tool_icarus ? (SPEED)", "tool_verilator ? (NONE)"]
  synth:
    <<: *default
    default_tool: icestorm
parameters:
  WIDTH: {datatype: int, default: 8, paramtype: vlogparam}
  FAST: {datatype: bool, default: true, paramtype: vlogdefine}
  QUIET: {datatype: bool, default: false, paramtype: vlogdefine}
  SPEED: {datatype: int, default: 3, paramtype: plusarg}
"""
SYNC = """CAPI=2:
name: lab:util:sync:{version}
filesets: {{rtl: {{files: [sync.v], file_type: verilogSource}}}}
targets: {{default: {{filesets: [rtl]}}}}
"""


def write(root: Path, **more: str) -> Path:
    files = {
        "blinker.core": CORE,
        "rtl/blinker.v": "module blinker(); endmodule\n",
        "rtl/defs.vh": "",
        "tb/test_blink.py": TEST,
        "tb/table.hex": "00\n",
        "lib/sync.core": SYNC.format(version="1.0.1"),
        "lib/sync.v": "module sync(); endmodule\n",
        "old/sync.core": SYNC.format(version="0.9"),
        "old/sync.v": "module sync(); endmodule\n",
        **more,
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return root


def only(root: Path) -> Core:
    project = discover(root)
    assert project.problems == ()
    assert len(project.cores) == 1
    return project.cores[0]


def test_a_target_with_a_module_of_tests_is_a_core(tmp_path: Path) -> None:
    found = only(write(tmp_path))
    assert (found.name, found.top, found.kind) == ("blinker", "blinker", "fusesoc")
    # What it depends on comes first, and of two versions the newer that fits.
    names = [str(one.relative_to(tmp_path)) for one in found.sources]
    assert names == ["lib/sync.v", "rtl/blinker.v"]
    assert [one.name for one in found.include] == ["rtl"]
    assert found.variants[0].parameters == {"WIDTH": 12}
    assert found.defines == {"FAST": None}
    assert found.plusargs == ("+SPEED=3",)
    assert found.flags == ("-Wno-portbind",)
    assert [one.label for one in found.tests] == ["test_blink.test_it"]
    assert [one.name for one in found.data] == ["table.hex"]


def test_tests_beside_the_file(tmp_path: Path) -> None:
    text = CORE.replace("      cocotb_module: test_blink\n", "")
    found = only(write(tmp_path, **{"blinker.core": text, "test_beside.py": TEST}))
    assert [one.label for one in found.tests] == ["test_beside.test_it"]


def test_options_of_a_tool_as_before_flows(tmp_path: Path) -> None:
    at, _, rest = CORE.partition("    flow: sim\n")
    rest = rest[rest.index("    parameters:") :]
    tools = "    default_tool: ghdl\n    tools: {ghdl: {cocotb_module: test_blink}}\n"
    text = (at + tools + rest).replace("!tool_icarus", "tool_none").replace("tool_icarus", "tool_g")
    found = only(write(tmp_path, **{"blinker.core": text}))
    assert found.simulators == ("ghdl",)
    assert found.plusargs == ()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            ">=lab:util:sync:1.0",
            ">=lab:util:sync:2.0",
            "no core '>=lab:util:sync:2.0' in this tree",
        ),
        ("- rtl/blinker.v", "- rtl/blinken.v", "there is no file 'rtl/blinken.v'"),
        ("filesets_append: [tb]", "filesets_append: [tbb]", "there is no fileset 'tbb'"),
        ("[WIDTH=12,", "[DEPTH=12,", "there is no parameter 'DEPTH'"),
        ("WIDTH=12", "WIDTH=x", "'x'"),
        ("? (rtl/only.vlt)", "? (rtl/only.vlt", "no ')'"),
        ("    flow: sim\n", "    flow: sim\n    generate: [g]\n", "needs a generator"),
        ("name: lab:ip:blinker:1.2.0", "name: [", "expected"),
        ("name: lab:ip:blinker:1.2.0", "nome: x", "no 'name'"),
        ("name: lab:ip:blinker:1.2.0", "name: !!python/object/apply:os.system [x]", "constructor"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in CORE
    project = discover(write(tmp_path, **{"blinker.core": CORE.replace(old, new)}))
    said = [one.message for one in project.problems]
    assert project.cores == ()
    assert any(words in one and "blinker.core" in one for one in said), said


def test_cores_without_tests_are_no_problem(tmp_path: Path) -> None:
    (tmp_path / "sync.core").write_text(SYNC.format(version="1"))
    (tmp_path / "sync.v").write_text("")
    with pytest.raises(UsageError, match=r"\.core file"):
        discover(tmp_path)


def test_two_cores_that_need_each_other_do_not_go_on_for_ever(tmp_path: Path) -> None:
    needy = SYNC.format(version="1.0.1").replace("files:", "depend: ['lab:ip:blinker'], files:")
    found = only(write(tmp_path, **{"lib/sync.core": needy}))
    assert len(found.sources) == 2
