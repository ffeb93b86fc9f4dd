"""Tests that would run for ever, each in a way of its own."""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import NullTrigger, Timer


@cocotb.test()
async def test_python_loop(dut):
    await Timer(1, "ns")
    while True:
        pass


@cocotb.test()
async def test_design_loop(dut):
    await Timer(7, "ns")
    dut.spin.value = 1
    await Timer(1, "ns")


@cocotb.test()
async def test_no_time_passes(dut):
    await Timer(3, "ns")
    while True:
        await NullTrigger()


@cocotb.test()
async def test_never_ends(dut):
    Clock(dut.clk, 10, "ns").start()
    await Timer(1000, "sec")
