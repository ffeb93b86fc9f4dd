"""What is so on this machine beside the cards that NVML told: people, the bus, the kernel's log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.facts.gpu import collect, here
from labctl.facts.gpu.card import GpuFacts
from labctl.facts.value import Known, Reason
from labctl.gpu.reading import Reading

if TYPE_CHECKING:
    from labctl.facts.gpu.slurm import SlurmFacts

NAME = "local"
NO_LIBRARY = Reason.ABSENT


def around(facts: GpuFacts) -> Reading:
    """Return the reading of this machine with ``facts`` and what is so beside them."""
    pids = {
        process.pid
        for card in facts.cards
        if isinstance(card.processes, Known)
        for process in card.processes.value
    }
    outputs = {
        "gpu people": here.people_lines(pids),
        "gpu bus": here.bus_lines(),
        "gpu log": here.log_lines(),
    }
    found = collect.parse_around(facts, outputs)
    return Reading(
        NAME,
        found.facts,
        holders=found.holders,
        open_devices=found.open_devices,
        age_s=0.0,
        slurm=_slurm(),
    )


def _slurm() -> SlurmFacts | None:
    if not any(os.access(Path(folder, "scontrol"), os.X_OK) for folder in os.get_exec_path()):
        return None
    from labctl.facts.gpu import slurm  # noqa: PLC0415 - slow to import, and seldom needed

    return slurm.parse(slurm.ask_here())
