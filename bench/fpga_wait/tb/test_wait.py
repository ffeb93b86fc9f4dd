"""A run of half a second that computes nothing: what it costs beside that is the engine's."""

import time
from typing import Any

import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def test_wait(dut: Any) -> None:
    """Wait."""
    await Timer(1, "ns")
    time.sleep(0.5)
