"""Mutants of a core: does the testbench notice a design with one wrong gate?"""
