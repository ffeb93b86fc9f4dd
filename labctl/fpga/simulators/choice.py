"""The simulator that somebody asks for, in the place of those that the cores name."""

from __future__ import annotations

from dataclasses import replace

from labctl.errors import UsageError
from labctl.fpga.model import Project
from labctl.fpga.simulators import languages_of, simulator_names
from labctl.fpga.simulators.base import is_vhdl
from labctl.inventory.diagnostics import did_you_mean, quote


def check_name(name: str) -> None:
    """Insist that there is a simulator ``name``.

    Raises:
        UsageError: There is none.
    """
    known = simulator_names()
    if name not in known:
        raise UsageError(
            f"there is no simulator {quote(name)}{did_you_mean(name, known)}",
            action=f"name one of {', '.join(known)}",
        )


def with_simulator(project: Project, name: str) -> tuple[Project, list[str]]:
    """Return ``project`` with all cores run by the simulator ``name``, and what is left out.

    Raises:
        UsageError: It takes none of the cores.
    """
    languages = languages_of(name)
    cores, left = [], []
    for core in project.cores:
        if {"vhdl" if is_vhdl(one) else "verilog" for one in core.sources} <= set(languages):
            cores.append(replace(core, simulators=(name,)))
        else:
            left.append(f"{core.name}: left out, because {name} does not take its language")
    if project.cores and not cores:
        raise UsageError(
            f"{name} takes {' and '.join(languages)} only, and no core here is in it",
            thing=str(project.root),
            action="name another simulator with --sim",
        )
    return replace(project, cores=tuple(cores)), left
