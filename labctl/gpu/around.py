"""What is so on this machine beside the cards that NVML told: people, the bus, the kernel's log."""

from __future__ import annotations

import contextlib

from labctl.errors import UnreachableError
from labctl.facts.gpu import collect
from labctl.facts.gpu.card import GpuFacts
from labctl.facts.value import Known, Reason
from labctl.gpu.reading import Reading
from labctl.transport.local import LocalSession
from labctl.transport.script import RecordReader, assemble, record

NAME = "local"
NO_LIBRARY = Reason.ABSENT


def around(facts: GpuFacts, *, deadline: float) -> Reading:
    """Return the reading of this machine with ``facts`` and what is so beside them.

    Args:
        facts: The cards.
        deadline: Seconds that it may take.
    """
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
