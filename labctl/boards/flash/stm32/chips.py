"""Which chip has which product ID, and where its unique device ID is: ``chips.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

UID_BYTES = 12


@dataclass(frozen=True)
class ChipFacts:
    """What is known of a chip by its product ID.

    Attributes:
        chip: Its name in small letters, as models of boards write it.
        about: Which chips have that product ID.
        uid: Address of its unique device ID.
        block: Where a read that includes it has to begin.
    """

    chip: str
    about: str
    uid: int
    block: int


@cache
def _known() -> dict[int, dict[str, Any]]:
    import yaml  # noqa: PLC0415 - slow, and only needed to flash

    text = Path(__file__).with_name("chips.yaml").read_text("utf-8")
    known: dict[int, dict[str, Any]] = yaml.safe_load(text)
    return known


def chip_facts(product: int) -> ChipFacts | None:
    """Return what is known of the chip whose ROM says the product ID ``product``, or None."""
    entry = _known().get(product)
    if entry is None:
        return None
    return ChipFacts(entry["chip"], entry["about"], entry["uid"], entry.get("block", entry["uid"]))
