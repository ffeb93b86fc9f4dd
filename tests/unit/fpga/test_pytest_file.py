"""pytest files that start simulations are read by pytest itself, with stand-ins for runners."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl.fpga.discovery import discover
from labctl.fpga.model import Core, Project
from labctl.fpga.readers.pytest_file import claims

pytest.importorskip("cocotb_tools.runner")

# With the runner of cocotb, once for each set of parameters, as its documentation has it.
RUNNER = """
import os
from pathlib import Path

import cocotb
import pytest
from cocotb_tools.runner import Verilog, get_results, get_runner

HERE = Path(__file__).parent


@cocotb.test()
async def test_a(dut):
    pass


@cocotb.test()
async def test_b(dut):
    pass


@pytest.mark.parametrize("width", [4, 8])
def test_run(width):
    runner = get_runner(os.getenv("SIM", "icarus"))
    runner.build(
        "top", sources=[Verilog(HERE / "../rtl/wire.v")], hdl_toplevel="wire_",
        parameters={"WIDTH": width, "NAME": '"x"'}, includes=[HERE], defines={"FAST": 1},
        build_args=["-g2012", "-Wno-portbind"], timescale=("1ns", "10ps"),
    )
    results = runner.test("test_runner", "wire_", plusargs=["+go"], extra_env={"MODE": f"m{width}"})
    total, failed = get_results(results)
    assert total and not failed


def test_one():
    runner = get_runner("ghdl")
    runner.build(sources=[HERE / "../rtl/wire.vhd"], hdl_toplevel="wire_")
    runner.test(test_module="test_runner", hdl_toplevel="wire_", testcase="test_b")
"""
# With cocotb-test, as the suites of verilog-axis and its family have it.
COCOTB_TEST = """
import os

import cocotb
import cocotb_test.simulator
import pytest
from cocotb.regression import TestFactory


async def run_test(dut, idle=None):
    pass

if cocotb.SIM_NAME:
    for test in [run_test]:
        factory = TestFactory(test)
        factory.generate_tests()

here = os.path.abspath(os.path.dirname(__file__))


@pytest.mark.parametrize("width", [8, 16])
@pytest.mark.parametrize("kind", ["a", "b c"])
def test_wire(request, width, kind):
    parameters = {"WIDTH": width}
    extra_env = {f"PARAM_{k}": str(v) for k, v in parameters.items()}
    cocotb_test.simulator.run(
        python_search=[here],
        verilog_sources=[os.path.join(here, "..", "rtl", "wire.v")],
        toplevel="wire_",
        module=os.path.splitext(os.path.basename(__file__))[0],
        parameters=parameters,
        sim_build=os.path.join(here, "sim_build", request.node.name),
        extra_env=extra_env,
        defines=["A=1", "B"],
    )
"""
BROKEN = "import cocotb_test.simulator\nimport no_such_module\n"
FAILS = "from cocotb_tools.runner import get_runner\n\ndef test_it(no_fixture):\n    pass\n"
MAKEFILE = """TOPLEVEL = wire_
MODULE = test_{name}
VERILOG_SOURCES = ../rtl/wire.v
include $(shell cocotb-config --makefiles)/Makefile.sim
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("project")
    files = {
        "tox.ini": "[pytest]\naddopts = -n auto\nrequired_plugins = pytest-none\n",
        "rtl/wire.v": "module wire_(); endmodule\n",
        "rtl/wire.vhd": "entity wire_ is end;\n",
        "one/test_runner.py": RUNNER,
        "two/test_wire.py": COCOTB_TEST,
        "two/Makefile": MAKEFILE.format(name="wire"),
        "bad/test_broken.py": BROKEN,
        "bad/test_fails.py": FAILS,
        # What pytest cannot read, and make can.
        "both/test_both.py": BROKEN
        + "import cocotb\n@cocotb.test()\nasync def test_x(dut): pass\n",
        "both/Makefile": MAKEFILE.format(name="both"),
        # It speaks of a runner, but imports none: it is not run.
        "plain/test_spoken.py": "open('ran', 'w')\nX = 'import cocotb_tools.runner'\n",
        "plain/test_plain.py": "def test_nothing():\n    assert False\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    before = sorted(root.rglob("*"))
    found = discover(root)
    assert sorted(root.rglob("*")) == before  # nothing is left in their folders
    return found


def core(project: Project, name: str) -> Core:
    return next(one for one in project.cores if one.name == name)


def test_each_function_is_a_core(project: Project) -> None:
    assert [(one.name, one.kind, one.simulators) for one in project.cores] == [
        ("both", "makefile", ("icarus",)),
        ("one.test_run", "pytest_file", ("icarus",)),
        ("one.test_one", "pytest_file", ("ghdl",)),
        ("two", "pytest_file", ("icarus",)),
    ]


def test_what_is_given_to_cocotbs_runner(project: Project) -> None:
    found = core(project, "one.test_run")
    assert (found.top, [one.name for one in found.sources]) == ("wire_", ["wire.v"])
    assert found.sources[0].is_file()
    assert (found.flags, found.timescale) == (("-Wno-portbind",), "1ns/10ps")
    assert [one.name for one in found.variants] == ["4", "8"]
    four = found.variants[0]
    assert four.parameters == {"WIDTH": 4, "NAME": "x"}
    assert four.defines == {"FAST": "1"}
    assert four.environment == {"MODE": "m4"}
    assert four.plusargs == ("+go",)
    assert [one.name for one in found.tests] == ["test_a", "test_b"]
    assert [one.name for one in core(project, "one.test_one").tests] == ["test_b"]


def test_what_is_given_to_cocotb_test(project: Project) -> None:
    found = core(project, "two")
    assert [one.name for one in found.variants] == ["a-8", "a-16", "b_c-8", "b_c-16"]
    assert found.variants[0].parameters == {"WIDTH": 8}
    # Those are set by labctl for every test.
    assert found.variants[0].environment == {}
    assert found.variants[0].defines == {"A": "1", "B": None}
    assert [one.label for one in found.tests] == ["test_wire.*"]


def test_what_cannot_be_read_says_why(project: Project) -> None:
    said = {one.path.name: one.message for one in project.problems}
    assert sorted(said) == ["test_broken.py", "test_fails.py"]
    assert "No module named 'no_such_module'" in said["test_broken.py"]
    assert "no_fixture" in said["test_fails.py"]


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        ("from cocotb_tools.runner import get_runner\n", True),
        ("def test_a():\n    from cocotb_tools import runner\n", True),
        ("import cocotb_test.simulator\n", True),
        ("from cocotb_test import simulator\n", True),
        ("from cocotb.runner import get_runner\n", True),
        ("import cocotb_tools.runner\ndef (:\n", True),
        ("from cocotb_tools import config\n", False),
        ("import cocotb_tests\n", False),
        ("# import cocotb_test\n", False),
    ],
)
def test_only_files_that_import_a_runner_are_run(tmp_path: Path, text: str, claimed: bool) -> None:
    (tmp_path / "test_it.py").write_text(text)
    assert claims(tmp_path, ["test_it.py", "other.py"]) == ["test_it.py"] * claimed
