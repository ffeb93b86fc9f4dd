"""Verify FPGA designs: find their tests, build once, run many, say what failed and why."""
