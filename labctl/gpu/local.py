"""This machine's cards through NVML, without a connection and what connections are made of."""

from __future__ import annotations

import contextlib

from labctl.errors import UnreachableError
from labctl.facts.gpu import collect, nvml
from labctl.facts.gpu.card import GpuFacts
from labctl.facts.value import Known, Reason
from labctl.gpu.reading import Reading
from labctl.transport.local import LocalSession
from labctl.transport.script import RecordReader, assemble, record

NAME = "local"


def look_here(*, deadline: float) -> Reading | None:
    """Return the reading of this machine; None where NVML is not there, or not its bindings.

    Then a vendor's tool is worth a question (`labctl.gpu.look`). Must be called while the process
    has one thread only, as it forks.

    Args:
        deadline: Seconds that the driver, and then the rest, may take.
    """
    if not nvml.usable():
        return None
    facts = nvml.read_local(deadline=deadline)
    if facts.failure is not None and facts.failure.reason is Reason.ABSENT:
        return None
    return _around(facts, deadline=deadline)


def _around(facts: GpuFacts, *, deadline: float) -> Reading:
    """Return the reading with what is so beside the cards: people, bus, kernel log."""
    pids = {
        process.pid
        for card in facts.cards
        if isinstance(card.processes, Known)
        for process in card.processes.value
    }
    parts = collect.around(sorted(pids))
    script = assemble("".join(record(one.name, one.text) for one in parts))
    reader = RecordReader(script.nonce)
    # What cannot be had beside the cards is missing beside them, and that is all.
    with contextlib.suppress(UnreachableError):
        LocalSession(None).run_script(script.text, deadline=deadline, on_output=reader.feed)
    found = collect.parse_around(facts, {one.name: one.output for one in reader.records})
    return Reading(
        NAME,
        found.facts,
        holders=found.holders,
        open_devices=found.open_devices,
        age_s=0.0,
    )
