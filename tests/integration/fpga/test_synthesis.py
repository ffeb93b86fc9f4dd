"""Lint, timing, netlists and mutants with the real programs, on a core as small as it can be."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labctl.boards.flash.bitstream import check_timing
from labctl.boards.flash.method import RefusedError
from labctl.fpga.mutate.build import mutated
from labctl.fpga.readers.core_file import read_core
from labctl.fpga.synth import programs
from labctl.fpga.synth.families import YOSYS

HERE = Path(__file__).parent
FPGA = HERE.parents[2] / "fpga"
DEADLINE_S = 400.0


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [one for one in programs if shutil.which(one) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


pytestmark = needs("iverilog")
Done = subprocess.CompletedProcess[str]
Labctl = Callable[..., Done]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("with blank")


@pytest.fixture(scope="module")
def labctl(base: Path) -> Labctl:
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(base / "cache"),
        "XDG_STATE_HOME": str(base / "state"),
        "XDG_CONFIG_HOME": str(base / "config"),
    }

    def call(*arguments: str | Path) -> Done:
        return subprocess.run(
            [sys.executable, "-m", "labctl", "fpga", *map(str, arguments)],
            env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip

    return call


@pytest.fixture
def blink(tmp_path: Path) -> Path:
    shutil.copytree(HERE / "gates", tmp_path / "gates")
    return tmp_path / "gates/blink"


def data(done: Done) -> dict[str, Any]:
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@needs("verilator", "yosys")
def test_every_linter_says_where_and_waivers_count(labctl: Labctl, blink: Path) -> None:
    clean = labctl("lint", "-C", blink, "--json")
    assert (clean.returncode, data(clean)["findings"]) == (0, [])
    change(
        blink / "rtl/blink.v",
        "  assign led",
        "  reg held;\n  always @* if (rst) held = count[9];\n  assign led",
    )
    found = labctl("lint", "-C", blink, "--json")
    places = {(one["tool"], one["rule"], one["line"]) for one in data(found)["findings"]}
    assert found.returncode == 1
    assert {
        ("icarus", "select-range", 11),
        ("verilator", "LATCH", 11),
        ("yosys", "latch", 11),
    } <= places
    core = blink / "core.yaml"
    core.write_text(
        core.read_text() + "lint:\n  waivers:\n"
        "    - {rule: '*', reason: a fault for a test}\n"
        "    - {rule: WIDTH, file: rtl/none.v, tool: verilator, reason: stale}\n"
    )
    waived = data(labctl("lint", "-C", blink, "--json"))
    assert [(one["tool"], one["rule"], one["line"]) for one in waived["findings"]] == [
        ("labctl", "waiver", 10)
    ]
    assert {one["reason"] for one in waived["waived"]} == {"a fault for a test"}


@needs("yosys", "nextpnr-ice40", "icepack")
def test_a_bitstream_that_is_too_slow_is_told_recorded_and_not_flashed(
    labctl: Labctl, blink: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("timing", "-C", blink, "--seeds", "2", "--bitstream", out, "--json")
    done = labctl(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    (design,) = data(done)["designs"]
    assert (design["status"], design["area"]["FF"]) == ("passed", 4)
    (clock,) = design["clocks"]
    assert (clock["signal"], clock["wanted_mhz"]) == ("clk", 12.0)
    assert clock["reached_mhz"] == max(one["clocks"][0]["reached_mhz"] for one in design["seeds"])
    bits = out / "blink.bin"
    record = json.loads((out / "blink.bin.json").read_text())
    assert record["sha256"] == hashlib.sha256(bits.read_bytes()).hexdigest()
    assert (record["timing"], design["bitstream"]["sha256"]) == ("passed", record["sha256"])
    assert bits.read_bytes()[4:8] == bytes.fromhex("7eaa997e")  # Lattice TN1248: the preamble
    check_timing(bits)
    again = data(labctl(*arguments))["designs"][0]
    assert [one["found"] for one in again["seeds"]] == [True, True]
    assert again["bitstream"]["sha256"] == record["sha256"]

    change(blink / "core.yaml", "mhz: 12", "mhz: 900")
    slow = labctl(*arguments)
    assert (slow.returncode, data(slow)["designs"][0]["status"]) == (1, "failed")
    with pytest.raises(RefusedError, match=r"too slow for its clock: clk reaches .* of 900.0 MHz"):
        check_timing(bits)
    change(blink / "core.yaml", "signal: clk", "signal: clock")
    wrong = labctl(*arguments[:3])
    assert "its top has no port 'clock'" in wrong.stdout
    assert wrong.returncode == 1


@needs("yosys", "nextpnr-ice40")
def test_the_readme_of_a_core_has_the_figures_of_the_programs(labctl: Labctl) -> None:
    if not data(done := labctl("timing", "-C", FPGA, "sync_fifo", "--readme", "--json"))["readme"]:
        assert done.returncode == 0
        return
    versions = " ".join(data(done)["designs"][0]["tools"].values())
    if "Yosys 0.23 " in versions and "0.4-1" in versions:
        pytest.fail(done.stdout)
    pytest.skip(f"the figures are those of yosys 0.23 and nextpnr 0.4, and here is {versions}")


@needs("yosys")
def test_the_same_tests_run_on_the_netlist_and_see_a_missing_reset(
    labctl: Labctl, blink: Path
) -> None:
    done = labctl("netlist", "-C", blink, "--cells", "generic", "--json")
    assert data(done)["summary"]["passed"] == 2, done.stdout + done.stderr
    assert done.returncode == 0
    # The simulation of the core begins as it says; flip-flops of a netlist do not.
    change(blink / "rtl/blink.v", "reg [WIDTH-1:0] count;", "reg [WIDTH-1:0] count = 0;")
    change(blink / "rtl/blink.v", "if (rst) count <= 0;\n    else ", "")
    change(blink / "tb/test_blink.py", "    await FallingEdge(dut.clk)\n    await", "    await")
    arguments = ("-C", blink, "test_blinks", "--json")
    assert labctl("test", *arguments).returncode == 0
    unknown = data(labctl("netlist", *arguments))
    assert "led is unknown after reset" in unknown["jobs"][0]["message"]
    assert unknown["jobs"][0]["repro"].startswith("labctl fpga netlist -C ")
    assert labctl("netlist", *arguments, "--power-up", "zero").returncode == 0


@needs("yosys")
def test_mutants_that_no_test_notices_are_told_with_their_place(
    labctl: Labctl, blink: Path, base: Path
) -> None:
    shutil.rmtree(base / "cache/labctl/fpga/builds", ignore_errors=True)
    good = data(done := labctl("mutate", "-C", blink, "--count", "20", "--json"))["cores"][0]
    assert done.returncode == 0, done.stdout
    assert good["mutants"] == len(good["fates"]) >= 10
    # Those that are left exchange the numbers of the counter, which nobody sees.
    assert 70.0 <= good["percent"] <= 100.0
    assert all("led" not in one["what"] for one in good["fates"] if one["status"] == "survived")
    # All of them share one build.
    assert len(list((base / "cache/labctl/fpga/builds").glob("*/*/sim.vvp"))) == 1

    blind = labctl("mutate", "-C", blink, "test_looks_at_nothing", "--count", "20", "--least", "50")
    assert blind.returncode == 1
    assert "rtl/blink.v:13: " in blind.stdout
    assert "else count <= count + 1'b1;" in blind.stdout
    change(
        blink / "tb/test_blink.py",
        "async def test_blinks(dut):",
        "async def test_blinks(dut):\n    assert 0",
    )
    broken = labctl("mutate", "-C", blink, "--count", "5")
    assert "does not pass on its netlist without a change" in broken.stdout
    assert broken.returncode == 1


@needs("yosys")
def test_the_same_seed_makes_the_same_mutants_elsewhere(
    blink: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yosys = programs.find(YOSYS)
    found = []
    for number, seed in enumerate((1, 1, 2)):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache{number}"))
        shutil.copytree(blink, tmp_path / f"{number}/blink")
        core = read_core(tmp_path / f"{number}/blink/core.yaml")
        found.append(mutated(core, core.variants[0], yosys, count=20, seed=seed)[2])
    assert found[0] == found[1] != found[2]
