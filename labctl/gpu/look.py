"""The cards of machines as they are now, in one round trip each."""

from __future__ import annotations

from collections.abc import Callable

from labctl.errors import LabctlError
from labctl.facts.gpu import collect
from labctl.facts.gpu.slurm import SlurmFacts
from labctl.facts.sent.bundle import Collector
from labctl.facts.value import absent
from labctl.gpu.reading import Reading
from labctl.transport.ask import Answer, ask
from labctl.transport.machines import Machines
from labctl.transport.script import record
from labctl.transport.ssh import Access


def look(
    machines: Machines,
    *,
    access: Access,
    deadline: float,
    jobs: int = 100,
    collector: Collector = Collector.AUTO,
    on_reading: Callable[[Reading], None] = lambda reading: None,
) -> list[Reading]:
    """Return the readings of ``machines`` in their order; a dead one delays none.

    Args:
        machines: The machines; none of them for this one.
        access: Passwords and host keys.
        deadline: Seconds for one machine in all.
        jobs: Machines at once.
        collector: Whether NVML is asked in a machine's own Python, before the vendor's tool.
        on_reading: Called with each reading as it arrives.
    """
    with_sudo = {host.name for host in machines.hosts if host.sudo}
    nodes = {host.name: host.slurm_node for host in machines.hosts if host.slurm_node}

    def body(name: str) -> str:
        parts = collect.snippets(
            sudo=name in with_sudo, collector=collector, node=nodes.get(name, "")
        )
        return "".join(record(one.name, one.text) for one in parts)

    def read(answer: Answer) -> Reading:
        return reading(answer, under_slurm=answer.host in nodes)

    answers = ask(
        machines,
        body,
        access=access,
        deadline=deadline,
        jobs=jobs,
        on_answer=lambda answer: on_reading(read(answer)),
    )
    return [read(answer) for answer in answers]


def reading(answer: Answer, *, under_slurm: bool = False) -> Reading:
    """Return the reading in ``answer``; what arrived before it broke off is in it.

    Args:
        answer: What the machine said.
        under_slurm: The inventory says that it is a node of Slurm, whatever it says itself.
    """
    error: LabctlError | None = answer.error
    if not answer.records:
        cause = error.cause if error else "no answer"
        return Reading(answer.host, error=cause, action=error.action if error else "")
    found = collect.parse({name: one.output for name, one in answer.records.items()})
    slurm = found.slurm
    if slurm is None and under_slurm:
        slurm = SlurmFacts(failure=absent("'scontrol' is not there, or says nothing"))
    return Reading(
        answer.host,
        found.facts,
        holders=found.holders,
        open_devices=found.open_devices,
        error=error.cause if error else "",
        action=error.action if error else "",
        age_s=0.0,
        slurm=slurm,
    )
