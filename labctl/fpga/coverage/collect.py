"""What a run reached, gathered from its folder when it has ended."""

from __future__ import annotations

from labctl.fpga.coverage import functional
from labctl.fpga.coverage.model import Hits
from labctl.fpga.engines.base import Task
from labctl.fpga.toolchain import Toolchain


def collect(task: Task, tools: Toolchain) -> list[Hits]:
    """Return what the run ``task`` reached, and remove the raw data, which may be large.

    A run that failed counts as well: what it reached, it has reached.
    """
    unit = task.job.unit
    simulator = tools.of(unit.core)
    found = list(functional.of_run(task.folder, unit.core.name))
    found += simulator.hits(task.folder, unit.core, unit.variant)
    waves = simulator.waves(task.folder)
    if waves is not None and not task.waves:
        waves.unlink()
    return found
