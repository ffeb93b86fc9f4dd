"""Tests of the state-of-charge estimator behind a UART."""

import random

import cocotb
from client import NMC, SAMPLES, SETTINGS
from frames import BAD_CRC
from golden import Settings
from system_tb import BAD_LENGTH, DISTURBANCES, UNKNOWN
from tb import TB, draw_settings

from labctl.fpga.tb import by_seed


@cocotb.test()
async def test_what_is_refused_changes_nothing(dut):
    """Counting goes on, exact to the last bit, after each thing that can go wrong."""
    tb = TB(dut)
    await tb.start()
    await tb.identify()
    k = random.randint(1, 65535)
    await tb.configure(Settings(NMC, k, 0, 0), 0x8000)
    charge = 1 << 39
    for reason, op, payload in (
        (UNKNOWN, 3, b"\xa5" * 4),
        (BAD_LENGTH, SETTINGS, random.randbytes(7)),
        (BAD_LENGTH, SAMPLES, random.randbytes(1)),
        (BAD_CRC, SETTINGS, random.randbytes(4)),
    ):
        await tb.refused(reason, op, payload, damaged=reason == BAD_CRC)
        current = random.randint(-30000, 30000)
        charge = min(max(charge - k * current, 0), (1 << 40) - 1)
        sample = (current % 65536).to_bytes(2, "little") + bytes(2)
        assert await tb.ask(SAMPLES, sample) == (0x82, (charge >> 8).to_bytes(4, "little"))


@cocotb.test()
async def test_random(dut):
    """After noise, samples of a cell of chance, and one request that is refused or is none."""
    tb = TB(dut)
    await tb.start()
    await tb.disturb(by_seed(DISTURBANCES))
    await tb.configure(draw_settings(), by_seed((0, 65535, random.randrange(65536))))
    aim = by_seed((0.0, 1.0, random.random()))
    await tb.samples(by_seed((0, 1, random.randint(2, 8), 1, 63, 2, 3)), aim)
    match by_seed(("identify", "unknown", "length", "crc")):
        case "identify":
            await tb.identify()
        case "unknown":
            op = random.choice((3, 0x80, 0xFF))
            await tb.refused(UNKNOWN, op, random.randbytes(random.randrange(4)))
        case "length":
            await tb.refused(BAD_LENGTH, SAMPLES, random.randbytes(random.choice((1, 2, 3, 5))))
        case _:
            await tb.refused(BAD_CRC, 1, random.randbytes(random.randint(0, 6)), damaged=True)
    await tb.samples(1, aim)
