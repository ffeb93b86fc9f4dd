"""What Slurm's word means for a card: given to a job, closed, reserved, or not Slurm's at all."""

from __future__ import annotations

import re
from dataclasses import dataclass

from labctl.facts.gpu.slurm import Node, SlurmFacts, SlurmJob
from labctl.facts.value import Known
from labctl.gpu.reading import Reading, Unit

# States in which Slurm starts nothing on a node (sinfo(1), "NODE STATE CODES").
_CLOSED = {
    "DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FAILING", "FUTURE", "INVAL", "MAINT",
    "NOT_RESPONDING", "POWERED_DOWN", "POWERING_DOWN", "REBOOT", "UNKNOWN",
}  # fmt: skip
_MINOR = re.compile(r".*/nvidia(\d+)")


@dataclass(frozen=True)
class Claim:
    """What Slurm says of a card that it gives away.

    Attributes:
        kind: ``free``, ``given`` to a job, ``closed``, ``reserved``, or ``unclear``.
        why: In words, for people.
        user: Who has it; whom it is reserved for.
        job: The job; empty if there is none.
        node: The node that it belongs to.
    """

    kind: str
    why: str = ""
    user: str = ""
    job: str = ""
    node: str = ""


def claim(reading: Reading, unit: Unit, *, person: str = "") -> Claim | None:
    """Return what Slurm says of ``unit``; None where it is no card of Slurm's.

    Args:
        reading: The machine.
        unit: The card or MIG device.
        person: Who asks; a reservation for them is no hindrance.
    """
    slurm = reading.slurm
    if slurm is None:
        return None
    if slurm.failure is not None:
        return Claim("unclear", f"under Slurm, which does not say who has it: {slurm.failure}")
    found = _place(reading, slurm, unit)
    if found is None:
        return None
    node, index = found
    jobs = [job for job in slurm.jobs if job.gpus.get(node.name)]
    for job in jobs:
        if unit.part is None and index in job.indices.get(node.name, ()):
            until = f" until {job.ends.replace('T', ' ')}" if job.ends else ""
            why = f"Slurm job {job.id} of {job.user}{until}"
            return Claim("given", why, job.user, job.id, node.name)
    unclear = _unclear(node, jobs, exact=unit.part is None and index >= 0)
    if unclear:
        return unclear
    return _closed(node) or _reserved(slurm, node, person) or Claim("free", node=node.name)


def _place(reading: Reading, slurm: SlurmFacts, unit: Unit) -> tuple[Node, int] | None:
    """Return the node and Slurm's index of a card: by its device file, else by its position."""
    card = unit.card
    for node in slurm.nodes:
        for index, file in enumerate(node.files):
            match = _MINOR.fullmatch(file)
            if match and card.minor == Known(int(match.group(1))):
                return node, index
    cards = reading.facts.cards if reading.facts is not None else ()
    with_cards = [node for node in slurm.nodes if node.gpus]
    # Without files, indices are positions by address on the bus, as the driver's own are.
    if len(with_cards) == 1 and not any(_MINOR.fullmatch(one) for one in with_cards[0].files):
        (node,) = with_cards
        if isinstance(card.index, Known) and card.index.value < node.gpus == len(cards):
            return node, card.index.value
        if node.gpus != len(cards):
            return node, -1
    return None


def _unclear(node: Node, jobs: list[SlurmJob], *, exact: bool) -> Claim | None:
    """Return that a card may be given away, where it is not known which are.

    Args:
        node: The node of the card.
        jobs: Its jobs with cards.
        exact: It is known which of Slurm's cards it is.
    """
    told = sum(len(job.indices.get(node.name, ())) for job in jobs)
    given = max(node.used, sum(job.gpus[node.name] for job in jobs))
    if not given:
        return None
    whose = ", ".join(f"job {job.id} of {job.user}" for job in jobs)
    if given >= node.gpus and exact:
        return Claim("given", f"Slurm has given away all cards ({whose or 'jobs not shown'})",
                     node=node.name)  # fmt: skip
    if not exact or told < given:
        why = f"Slurm has given away {given} of {node.gpus} cards and does not say which"
        return Claim("unclear", f"{why} ({whose})" if whose else why, node=node.name)
    return None


def _closed(node: Node) -> Claim | None:
    states = [one for one in node.states if one in _CLOSED]
    if not states:
        return None
    reason = f": {node.reason}" if node.reason else ""
    return Claim("closed", f"Slurm: node {node.name} is {'+'.join(states)}{reason}", node=node.name)


def _reserved(slurm: SlurmFacts, node: Node, person: str) -> Claim | None:
    for one in slurm.reservations:
        if node.name not in one.nodes:
            continue
        until = one.until.replace("T", " ")
        whose = ", ".join(one.users) or "others"
        mine = person if person in one.users else ""
        why = f"reserved in Slurm for {whose} until {until} ({one.name})"
        return Claim("reserved", why, mine, node=node.name)
    return None
