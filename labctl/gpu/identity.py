"""What identifies a card, or a part of one, from one reading to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labctl.gpu.reading import Unit


def key(unit: Unit) -> str:
    """Return what identifies a unit on its machine: its UUID, else its address or index."""
    # Slow to import, and loaded already where there is a unit.
    from labctl.facts.value import Known  # noqa: PLC0415

    for fact in (unit.uuid, unit.card.pci):
        if isinstance(fact, Known) and (unit.part is None or fact is unit.uuid):
            return fact.value
    return unit.name
