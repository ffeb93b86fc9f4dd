"""Stands in for ``cocotb_test.simulator`` where it is not installed."""

from __future__ import annotations

from typing import NoReturn


def run(*arguments: object, **options: object) -> NoReturn:
    """Refuse: a simulation starts no other one."""
    raise RuntimeError("cocotb-test is not installed: pip install cocotb-test")
