"""Tests of the matrix engine behind a UART."""

import random

import cocotb
import numpy as np
from client import requantised
from frames import BAD_CRC
from system_tb import BAD_LENGTH, DISTURBANCES, UNKNOWN
from tb import BEATS, LAST, TB

from labctl.fpga.tb import by_seed


@cocotb.test()
async def test_what_is_refused_leaves_no_trace(dut):
    """A product is exact after each thing that can go wrong in the middle of the one before."""
    tb = TB(dut)
    await tb.start()
    await tb.identify()
    one = tb.draw(tb.n, 1), tb.draw(1, tb.n)
    for reason, op, payload in (
        (UNKNOWN, 4, b""),
        (UNKNOWN, 0xA5, b"\xa5\xa5"),
        (BAD_LENGTH, BEATS, b""),
        (BAD_LENGTH, LAST, random.randbytes(2 * tb.n + 1)),
    ):
        await tb.beats(*one)
        await tb.refused(reason, op, payload)
        await tb.tile(*one)
    await tb.beats(*one)
    await tb.clear()
    await tb.tile(*one)


@cocotb.test()
async def test_a_damaged_request_changes_nothing(dut):
    """The product that was begun goes on after it."""
    tb = TB(dut)
    await tb.start()
    a, b = tb.draw(tb.n, 2), tb.draw(2, tb.n)
    await tb.beats(a[:, :1], b[:1])
    await tb.refused(BAD_CRC, BEATS, random.randbytes(2 * tb.n), damaged=True)
    rest = np.concatenate([a[:, 1:].T, b[1:]], axis=1).tobytes()
    _, sums = await tb.ask(LAST, rest)
    want = a.astype(np.int32) @ b.astype(np.int32)
    assert (np.frombuffer(sums, dtype="<i4").reshape(tb.n, tb.n) == want).all()


@cocotb.test()
async def test_network(dut):
    """Two layers of a network with N inputs: the bytes that numpy computes, over the line."""
    tb = TB(dut)
    await tb.start()
    x = tb.draw(tb.n, tb.n)
    scale = 1 / (64 * tb.n)
    for _ in range(2):
        weights = tb.draw(tb.n, tb.n)
        sums = await tb.tile(x, weights)
        x = requantised(sums, scale)
        real = np.maximum(0, sums * scale)
        # Rounding is at most half a step, or the value is at the end of the range.
        assert (np.abs(np.minimum(real, 127) - x) <= 0.5).all()


@cocotb.test()
async def test_random(dut):
    """After noise, one product in several frames and one request that is refused or is none."""
    tb = TB(dut)
    await tb.start()
    await tb.disturb(by_seed(DISTURBANCES))
    most = 255 // (2 * tb.n)
    depth = by_seed((1, random.randint(2, 5), random.randint(2, 5), most, 1, 2, 3))
    parts = random.randint(1, min(3, depth)) if depth < most else 1
    await tb.tile(tb.draw(tb.n, depth), tb.draw(depth, tb.n), parts)
    match by_seed(("identify", "clear", "unknown", "length", "crc")):
        case "identify":
            await tb.identify()
        case "clear":
            await tb.clear()
        case "unknown":
            op = random.choice((4, 0x80, 0xFF))
            await tb.refused(UNKNOWN, op, random.randbytes(random.randrange(4)))
        case "length":
            await tb.refused(BAD_LENGTH, LAST, random.randbytes(random.choice((0, 2 * tb.n - 1))))
        case _:
            await tb.refused(BAD_CRC, 1, random.randbytes(random.randint(0, 6)), damaged=True)
