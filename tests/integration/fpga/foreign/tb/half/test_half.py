"""A table that is read by a relative name, as in many projects."""

import os

import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def test_halves(dut):
    assert len(dut.a) == int(os.environ["PARAM_WIDTH"])
    assert cocotb.plusargs["extra"] == "1"
    for value in range(2 ** len(dut.a)):
        dut.a.value = value
        await Timer(1, "ns")
        assert dut.b.value == value // 2
