"""Simulators, one file each: where it is, how it compiles, how it runs.

A module here is found by being here. It has ``LANGUAGES`` that it takes, and a function ``find``
that returns a `Simulator`.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labctl.fpga.simulators.base import Simulator

_SHARED = ("base", "choice", "shared")


def simulator_names() -> list[str]:
    """Return the names of all simulators that labctl can use; Icarus, the usual one, first."""
    found = [one.name for one in pkgutil.iter_modules(__path__) if one.name not in _SHARED]
    return sorted(found, key=lambda name: (name != "icarus", name))


def find_simulator(name: str, *, coverage: bool = False) -> Simulator:
    """Return the simulator ``name`` as it is installed.

    Args:
        name: One of `simulator_names`.
        coverage: Builds and runs collect code coverage, as far as it can.

    Raises:
        DependencyError: It, or something that it needs, is missing; the action installs it.
    """
    module = importlib.import_module(f"{__name__}.{name}")
    found: Simulator = module.find(coverage=coverage)
    return found


def languages_of(name: str) -> tuple[str, ...]:
    """Return the languages that the simulator ``name`` takes: ``verilog``, ``vhdl``."""
    found: tuple[str, ...] = importlib.import_module(f"{__name__}.{name}").LANGUAGES
    return found
