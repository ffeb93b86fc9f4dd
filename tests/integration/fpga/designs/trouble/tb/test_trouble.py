"""Each test fails in a way of its own."""

import os
import random

import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def test_fails_for_odd_seeds(dut):
    await Timer(random.randrange(10, 1000), "ns")
    assert int(os.environ["COCOTB_RANDOM_SEED"]) % 2 == 0, "an odd seed"


@cocotb.test()
async def test_fatal(dut):
    dut.die.value = 1
    await Timer(1, "ns")


@cocotb.test()
async def test_finish(dut):
    dut.leave.value = 1
    await Timer(1, "ns")


@cocotb.test()
async def test_crash(dut):
    os.abort()


@cocotb.test()
async def test_leaves_nothing(dut):
    os._exit(0)


@cocotb.test()
async def test_prints_for_ever(dut):
    while True:
        print("x" * 4096)


@cocotb.test()
async def test_eats_memory(dut):
    held = []
    while True:
        held.append(bytearray(16 * 2**20))
