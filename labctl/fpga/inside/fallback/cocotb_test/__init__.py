"""Stands in for cocotb-test inside a simulation, where it is imported but never called."""
