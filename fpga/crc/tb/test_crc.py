"""Tests of the CRC core."""

import random
import zlib

import cocotb
from golden import crc
from tb import TB

from labctl.fpga.tb import Pace, by_seed

# The check values of the catalogue: the CRC of the nine digits "123456789".
CHECK = {
    (32, 0x04C11DB7): 0xCBF43926,
    (16, 0x1021): 0x29B1,
    (16, 0x8005): 0x4B37,
    (8, 0x07): 0xF4,
    (5, 0x05): 0x19,
}


@cocotb.test()
async def test_catalogue(dut):
    """The model gives the catalogue's check value (and zlib's), and so does the core."""
    tb = TB(dut)
    await tb.start()
    model = tb.model
    assert crc(b"123456789", **model) == CHECK[model["width"], model["poly"]]
    if model["width"] == 32:
        assert crc(b"other words", **model) == zlib.crc32(b"other words")
    digits = b"123456789"[: 9 // tb.step * tb.step]
    await tb.send(digits, Pace(0.0), clear_before=False)


@cocotb.test()
async def test_random(dut):
    """Messages of every kind, with pauses, cleared before or with their first word."""
    tb = TB(dut)
    await tb.start()
    for turn in range(5):
        size = tb.step * by_seed((0, 1, 2, random.randint(2, 15), random.randint(16, 30)), turn)
        kind = random.choice((b"\x00" * size, b"\xff" * size, random.randbytes(size)))
        pace = random.choice((Pace(0.0), Pace(0.3)))
        await tb.send(kind, pace, clear_before=random.random() < 0.5)
