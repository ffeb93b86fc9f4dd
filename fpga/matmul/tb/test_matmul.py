"""Tests of the matrix engine."""

import random

import cocotb
import numpy as np
from network import Layer, quantised
from tb import TB

from labctl.fpga.tb import Pace, by_seed


@cocotb.test()
async def test_identity(dut):
    """A times the identity is A, whatever K is left over from the product before."""
    tb = TB(dut)
    await tb.start()
    for _ in range(3):
        a = tb.draw(tb.n, tb.n)
        assert (await tb.tile(a, np.eye(tb.n, dtype=np.int8)) == a).all()


@cocotb.test()
async def test_random(dut):
    """Random products with pauses on both sides and operands that like the extremes."""
    tb = TB(dut, Pace(), Pace())
    await tb.start()
    for turn in range(3):
        depth = by_seed((1, random.randint(1, max(tb.n, 2)), random.randint(3, 16)), turn)
        await tb.tile(tb.draw(tb.n, depth), tb.draw(depth, tb.n))


@cocotb.test()
async def test_network(dut):
    """Three layers, one after another on the engine, stay within the bound of their rounding."""
    tb = TB(dut)
    await tb.start()
    rng = np.random.default_rng(random.getrandbits(32))
    layers = [Layer(rng, 7, 5), Layer(rng, 5, 4), Layer(rng, 4, 3)]
    exact = rng.uniform(-1, 1, (2, 7))
    scale = 1 / 127
    x = quantised(exact, scale)
    error = np.full(exact.shape, scale / 2)
    for layer in layers:
        sums = await tb.product(x, layer.weights_int)
        real = np.maximum(0, sums * (scale * layer.scale))
        # The bound adds up: what came in, this layer's weights, and the rounding of its output.
        error = layer.bound(exact, error)
        exact = layer.float_out(exact)
        assert (np.abs(real - exact) <= error).all()
        scale = max(real.max(), 1e-9) / 127
        x = quantised(real, scale)
        error = error + scale / 2
