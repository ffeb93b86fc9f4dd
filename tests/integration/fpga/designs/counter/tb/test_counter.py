"""The counter against a sum in Python."""

import random

import cocotb
from cocotb.triggers import FallingEdge
from tb import begin


@cocotb.test()
@cocotb.parametrize(cycles=[5, 50])
async def test_counts(dut, cycles):
    await begin(dut)
    expected = 0
    for _ in range(cycles):
        enabled = random.random() < 0.5
        dut.en.value = enabled
        await FallingEdge(dut.clk)
        expected = (expected + enabled) % 2 ** len(dut.q)
        assert dut.q.value == expected


@cocotb.test()
async def test_says_a_number(dut):
    await begin(dut)
    dut._log.info("drawn: %d", random.getrandbits(32))


@cocotb.test(skip=True)
async def test_is_not_ready(dut):
    raise NotImplementedError
