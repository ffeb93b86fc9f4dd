"""One reading of one machine's cards, and the units in it that can be had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labctl.facts.gpu.card import Card, GpuFacts, Process, Slice
from labctl.facts.gpu.people import Holder, OpenDevice
from labctl.facts.value import Fact, Known, Unknown, absent

if TYPE_CHECKING:
    from labctl.facts.gpu.slurm import SlurmFacts


@dataclass(frozen=True)
class Reading:
    """What is known of the cards of one machine.

    Attributes:
        host: Name of the machine, or of the recording.
        facts: The facts; None where the machine was not reached.
        holders: Who runs the processes, by pid.
        open_devices: Processes that have a device file of a card open.
        error: Why there are no facts.
        action: What to do about it.
        age_s: How old the facts are, seconds; None for a recording.
        slurm: What Slurm says of the machine; None where it is not under Slurm.
    """

    host: str
    facts: GpuFacts | None = None
    holders: Mapping[int, Holder] = field(default_factory=dict)
    open_devices: tuple[OpenDevice, ...] = ()
    error: str = ""
    action: str = ""
    age_s: float | None = None
    slurm: SlurmFacts | None = None


@dataclass(frozen=True)
class Unit:
    """Something that can be had: a card, or a MIG device, which is a card of its own.

    Attributes:
        part: The MIG device; None for a whole card.
    """

    card: Card
    part: Slice | None = None

    @property
    def name(self) -> str:
        """The index of the card (``0``), or of card and MIG device (``0:3``), or its address."""
        head = "?"
        if isinstance(self.card.index, Known):
            head = str(self.card.index.value)
        elif isinstance(self.card.pci, Known):
            head = self.card.pci.value
        if self.part is None:
            return head
        index = self.part.index
        return f"{head}:{index.value if isinstance(index, Known) else '?'}"

    @property
    def model(self) -> str:
        """Name of the model, with the profile of a MIG device."""
        model = self.card.name.value if isinstance(self.card.name, Known) else ""
        if self.part is not None:
            profile = self.part.profile
            return f"{model} MIG {profile.value if isinstance(profile, Known) else ''}".strip()
        return model

    @property
    def uuid(self) -> Fact[str]:
        """What pins a program to it."""
        return self.card.uuid if self.part is None else self.part.uuid

    @property
    def memory_total(self) -> Fact[int]:
        """Its memory in bytes."""
        return self.card.memory_total if self.part is None else self.part.memory_total

    @property
    def memory_used(self) -> Fact[int]:
        """What of it is used, in bytes."""
        return self.card.memory_used if self.part is None else self.part.memory_used

    @property
    def memory_reserved(self) -> Fact[int]:
        """What the driver keeps for itself, in bytes."""
        return self.card.memory_reserved if self.part is None else self.part.memory_reserved

    @property
    def utilisation(self) -> Fact[float]:
        """Share of the time in which it worked, percent; a MIG device does not say."""
        return self.card.utilisation if self.part is None else absent("not said of a MIG device")

    @property
    def processes(self) -> Fact[tuple[Process, ...]]:
        """Processes on it."""
        found = self.card.processes
        if self.part is None or isinstance(found, Unknown):
            return found
        return Known(
            tuple(
                one
                for one in found.value
                if one.gpu_instance == self.part.gpu_instance
                and one.compute_instance == self.part.compute_instance
            )
        )

    @property
    def sharers(self) -> Fact[tuple[Process, ...]]:
        """Processes that share its memory: compute instances of one GPU instance do."""
        found = self.card.processes
        if self.part is None or isinstance(found, Unknown):
            return found
        return Known(
            tuple(one for one in found.value if one.gpu_instance == self.part.gpu_instance)
        )

    @property
    def strays(self) -> tuple[Process, ...]:
        """Processes on the card of which is not known on which of its MIG devices they run."""
        found = self.card.processes
        if self.part is None or isinstance(found, Unknown):
            return ()
        return tuple(one for one in found.value if isinstance(one.gpu_instance, Unknown))


def units(card: Card) -> list[Unit]:
    """Return what can be had of ``card``: itself, or its MIG devices."""
    if isinstance(card.slices, Known) and card.slices.value:
        return [Unit(card, part) for part in card.slices.value]
    return [Unit(card)]
