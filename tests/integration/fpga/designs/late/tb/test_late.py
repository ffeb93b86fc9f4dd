import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge


async def run(dut, limit, work=lambda: None):
    Clock(dut.clk, 10, "ns", impl="gpi").start(start_high=False)
    dut.rst.value, dut.limit.value = 1, limit
    await RisingEdge(dut.clk)
    dut.rst.value = 0
    drawn = 0
    for cycle in range(limit + 10):
        await RisingEdge(dut.clk)
        await ReadOnly()
        drawn = (drawn + random.getrandbits(16)) % 2**16
        work()
        assert dut.wrong.value != 1, f"wrong in cycle {cycle}, drawn {drawn}"


@cocotb.test()
async def test_long(dut):
    await run(dut, 15_000 + cocotb.RANDOM_SEED % 1000)


@cocotb.test()
async def test_short(dut):
    await run(dut, 100)


@cocotb.test()
async def test_reads_a_file(dut):
    with Path(__file__).open(encoding="utf-8") as text:
        await run(dut, 15_000, lambda: text.read(1) or text.seek(0))


@cocotb.test()
async def test_writes_a_file(dut):
    with Path("out.txt").open("w", encoding="utf-8") as text:
        await run(dut, 8_000, lambda: text.write("x"))


@cocotb.test()
async def test_crash(dut):
    await run(dut, 15_000, lambda: os.abort() if int(dut.count.value) == 14_000 else None)
