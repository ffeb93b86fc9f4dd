from __future__ import annotations

from pathlib import Path

import pytest

from labctl.fpga.readers.test_modules import read_tests

TESTS = """
import cocotb
from cocotb import test as cocotb_test

@cocotb.test()
async def first(dut): ...

@cocotb.test(timeout_time=10, timeout_unit="us", name="second")
async def other(dut): ...

if cocotb.is_simulation:
    @cocotb.test
    @cocotb.parametrize(n=[1, 2])
    async def third(dut, n): ...

async def helper(dut): ...
"""


def test_tests_are_found_by_reading(tmp_path: Path) -> None:
    path = tmp_path / "t.py"
    path.write_text(TESTS)
    found = read_tests(path, "t")
    assert [(one.name, one.line, one.parametrized) for one in found] == [
        ("first", 6, False),
        ("second", 9, False),
        ("third", 14, True),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "from cocotb.regression import TestFactory\nf = TestFactory(run)\nf.generate_tests()\n",
        "for n in 1, 2:\n    @cocotb.test()\n    async def t(dut): ...\n",
        "@cocotb.test(name=N)\nasync def t(dut): ...\n",
        "def make():\n    @cocotb.test()\n    async def t(dut): ...\n    return t\nx = make()\n",
        "from others import *\n",
    ],
)
def test_what_only_running_tells_is_one_case(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.py"
    path.write_text(text)
    assert [one.label for one in read_tests(path, "t")] == ["t.*"]


def test_nothing_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "t.py"
    path.write_text("raise SystemExit('imported')\n")
    assert read_tests(path, "t")
