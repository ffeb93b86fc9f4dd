"""Verify FPGA designs: find their tests, build once, run many, say what failed and how to see it."""
