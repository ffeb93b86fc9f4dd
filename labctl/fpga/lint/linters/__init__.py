"""Linters, one module each; see `labctl.fpga.lint.finding.Linter`."""
