"""The simulators that a regression needs: each is found when it is needed first."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from labctl.errors import DependencyError

if TYPE_CHECKING:
    from labctl.fpga.model import Core
    from labctl.fpga.simulators.base import Simulator


class Toolchain:
    """The simulators of this machine.

    Args:
        coverage: Builds and runs collect coverage.
    """

    def __init__(self, *, coverage: bool = False) -> None:
        self.coverage = coverage
        self._found: dict[str, Simulator | DependencyError] = {}

    def of(self, core: Core) -> Simulator:
        """Return the simulator that runs ``core``: the first of those that it works in.

        Raises:
            DependencyError: It is not installed; the action installs it.
        """
        return self.named(core.simulators[0])

    def named(self, name: str) -> Simulator:
        """Return the simulator ``name``.

        Raises:
            DependencyError: It is not installed; the action installs it.
        """
        from labctl.fpga.simulators import find_simulator  # noqa: PLC0415

        if name not in self._found:
            try:
                self._found[name] = find_simulator(name, coverage=self.coverage)
            except DependencyError as error:
                self._found[name] = error
        found = self._found[name]
        if isinstance(found, DependencyError):
            raise found
        return found


def find_toolchain(names: Iterable[str] = ("icarus",), *, coverage: bool = False) -> Toolchain:
    """Return the simulators, of which at least one of ``names`` is installed.

    Raises:
        DependencyError: None of them is; the action installs the first.
    """
    tools = Toolchain(coverage=coverage)
    missing: DependencyError | None = None
    for name in names:
        try:
            tools.named(name)
        except DependencyError as error:
            missing = missing or error
        else:
            return tools
    if missing:
        raise missing
    return tools


def environment() -> dict[str, str]:
    """Return the environment of this process without what would change a simulation unseen."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COCOTB_", "PYGPI_", "GPI_", "LABCTL_"))
        or name == "LABCTL_FPGA_COVERAGE"  # where testbenches leave their counts
    }
