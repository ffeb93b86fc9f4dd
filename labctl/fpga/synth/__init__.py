"""From Verilog to gates: netlists, places, clocks, bitstreams. See docs/fpga-synthesis.md."""
