"""What is so on this machine beside the cards that NVML told: people, the bus, the kernel's log."""

from __future__ import annotations

from labctl.facts.gpu import collect, here, slurm
from labctl.facts.gpu.card import GpuFacts
from labctl.facts.value import Known, Reason
from labctl.gpu.reading import Reading

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
        slurm=slurm.parse(slurm.ask_here()),
    )
