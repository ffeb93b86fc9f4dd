"""Verify FPGA designs: find, build and run their testbenches."""
