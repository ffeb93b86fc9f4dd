"""A small network in float, and the same in int8: the golden models of `test_network`.

Quantisation is symmetric, one scale for each tensor (B. Jacob et al., "Quantization and Training
of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018, with zero points 0).
"""

import numpy as np


def quantised(values, scale):
    """The int8 nearest to values / scale."""
    return np.clip(np.rint(values / scale), -128, 127).astype(np.int8)


class Layer:
    """y = max(0, x W), weights in float and in int8."""

    def __init__(self, rng, inputs: int, outputs: int):
        self.weights = rng.uniform(-1, 1, (inputs, outputs))
        self.scale = np.abs(self.weights).max() / 127
        self.weights_int = quantised(self.weights, self.scale)

    def float_out(self, x):
        """The layer in float."""
        return np.maximum(0, x @ self.weights)

    def bound(self, x, x_error):
        """How far the int8 layer's sums can be from float: from rounded weights, inputs, and both.

        Args:
            x: the float input.
            x_error: how far the input of the int8 layer can be from it.
        """
        half = self.scale / 2
        return (np.abs(x) + x_error).sum(axis=1, keepdims=True) * half + (
            x_error @ np.abs(self.weights)
        )
