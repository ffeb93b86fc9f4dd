"""The facts about accelerator cards, the same from every source.

Sizes are bytes, powers watts, temperatures degrees Celsius, clocks megahertz, shares percent.
A field that a source does not report is `Unknown` with the reason `absent`; it is never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labctl.facts.gpu.quantity import total
from labctl.facts.value import Fact, Known, Unknown, absent

_NOT_REPORTED = absent("not reported")


@dataclass(frozen=True)
class Process:
    """A process on a card.

    Attributes:
        pid: Its id as the driver's host sees it.
        kind: ``C`` computes, ``G`` draws, ``C+G`` does both.
        gpu_instance: MIG GPU instance that it runs on.
        compute_instance: MIG compute instance that it runs on.
    """

    pid: int
    name: Fact[str] = _NOT_REPORTED
    kind: Fact[str] = _NOT_REPORTED
    memory: Fact[int] = _NOT_REPORTED
    gpu_instance: Fact[int] = _NOT_REPORTED
    compute_instance: Fact[int] = _NOT_REPORTED


@dataclass(frozen=True)
class Slice:
    """A MIG device: a part of a card that is used as a card of its own.

    The memory belongs to the GPU instance; compute instances in it share it.
    """

    index: Fact[int] = _NOT_REPORTED
    uuid: Fact[str] = _NOT_REPORTED
    profile: Fact[str] = _NOT_REPORTED
    gpu_instance: Fact[int] = _NOT_REPORTED
    compute_instance: Fact[int] = _NOT_REPORTED
    memory_total: Fact[int] = _NOT_REPORTED
    memory_reserved: Fact[int] = _NOT_REPORTED
    memory_used: Fact[int] = _NOT_REPORTED
    memory_free: Fact[int] = _NOT_REPORTED
    ecc_uncorrected: Fact[int] = _NOT_REPORTED


@dataclass(frozen=True)
class Link:
    """One NVLink of a card: to another card, or to a switch.

    Attributes:
        active: It is up.
        version: Of the interface, such as ``4.0``.
        speed: Gigabytes a second in one direction, as the driver says it.
        replays: Packets that had to be sent again since the driver was loaded.
        recoveries: How often the link had to be trained anew.
        crc: Damaged packets that were noticed; many are normal on a long cable, a flood is not.
    """

    number: int
    active: Fact[bool] = _NOT_REPORTED
    version: Fact[str] = _NOT_REPORTED
    speed: Fact[float] = _NOT_REPORTED
    replays: Fact[int] = _NOT_REPORTED
    recoveries: Fact[int] = _NOT_REPORTED
    crc: Fact[int] = _NOT_REPORTED


@dataclass(frozen=True)
class Card:
    """One card.

    Attributes:
        pci: Address as ``dddd:bb:dd.f``, lower case.
        memory_reserved: Held by the driver for itself; where it is not reported (NVIDIA before
            515) it is part of ``memory_used``.
        throttle: Reasons that hold the clocks down now, in the words of the source.
        temperature_margin: Degrees left before the card slows down.
        sram_errors_exceeded: NVIDIA's own limit of errors in the card's static memory is passed.
        channel_repair_pending: A repair of a memory channel waits for the next reset.
        tpc_repair_pending: The same of a cluster of processors.
        memory_unrepairable: Its memory is beyond repair.
        links_active: NVLinks that are up; 0 also where the driver says only that none is.
        links_down: NVLinks that are there and not up.
        link_replays: Sums over all links, as the next two.
        recovery_action: What NVIDIA's driver says must be done (``None`` is its word for nothing).
        error: Why the card as a whole cannot be read; None where it can.
    """

    index: Fact[int] = _NOT_REPORTED
    name: Fact[str] = _NOT_REPORTED
    vendor: Fact[str] = _NOT_REPORTED
    architecture: Fact[str] = _NOT_REPORTED
    uuid: Fact[str] = _NOT_REPORTED
    serial: Fact[str] = _NOT_REPORTED
    pci: Fact[str] = _NOT_REPORTED
    minor: Fact[int] = _NOT_REPORTED
    vbios: Fact[str] = _NOT_REPORTED
    persistence: Fact[bool] = _NOT_REPORTED
    display: Fact[bool] = _NOT_REPORTED
    compute_mode: Fact[str] = _NOT_REPORTED
    performance_state: Fact[str] = _NOT_REPORTED
    memory_total: Fact[int] = _NOT_REPORTED
    memory_reserved: Fact[int] = _NOT_REPORTED
    memory_used: Fact[int] = _NOT_REPORTED
    memory_free: Fact[int] = _NOT_REPORTED
    bar1_total: Fact[int] = _NOT_REPORTED
    bar1_used: Fact[int] = _NOT_REPORTED
    utilisation: Fact[float] = _NOT_REPORTED
    memory_utilisation: Fact[float] = _NOT_REPORTED
    encoder_utilisation: Fact[float] = _NOT_REPORTED
    decoder_utilisation: Fact[float] = _NOT_REPORTED
    power: Fact[float] = _NOT_REPORTED
    power_limit: Fact[float] = _NOT_REPORTED
    power_limit_default: Fact[float] = _NOT_REPORTED
    power_limit_max: Fact[float] = _NOT_REPORTED
    clock_sm: Fact[float] = _NOT_REPORTED
    clock_sm_max: Fact[float] = _NOT_REPORTED
    clock_memory: Fact[float] = _NOT_REPORTED
    clock_memory_max: Fact[float] = _NOT_REPORTED
    throttle: Fact[tuple[str, ...]] = _NOT_REPORTED
    temperature: Fact[float] = _NOT_REPORTED
    temperature_memory: Fact[float] = _NOT_REPORTED
    temperature_slowdown: Fact[float] = _NOT_REPORTED
    temperature_shutdown: Fact[float] = _NOT_REPORTED
    temperature_margin: Fact[float] = _NOT_REPORTED
    fan: Fact[float] = _NOT_REPORTED
    ecc: Fact[bool] = _NOT_REPORTED
    ecc_corrected: Fact[int] = _NOT_REPORTED
    ecc_uncorrected: Fact[int] = _NOT_REPORTED
    ecc_corrected_ever: Fact[int] = _NOT_REPORTED
    ecc_uncorrected_ever: Fact[int] = _NOT_REPORTED
    remapped_corrected: Fact[int] = _NOT_REPORTED
    remapped_uncorrected: Fact[int] = _NOT_REPORTED
    remap_pending: Fact[bool] = _NOT_REPORTED
    remap_failed: Fact[bool] = _NOT_REPORTED
    retired_single: Fact[int] = _NOT_REPORTED
    retired_double: Fact[int] = _NOT_REPORTED
    retire_pending: Fact[bool] = _NOT_REPORTED
    sram_errors_exceeded: Fact[bool] = _NOT_REPORTED
    channel_repair_pending: Fact[bool] = _NOT_REPORTED
    tpc_repair_pending: Fact[bool] = _NOT_REPORTED
    memory_unrepairable: Fact[bool] = _NOT_REPORTED
    pcie_generation: Fact[int] = _NOT_REPORTED
    pcie_generation_max: Fact[int] = _NOT_REPORTED
    pcie_width: Fact[int] = _NOT_REPORTED
    pcie_width_max: Fact[int] = _NOT_REPORTED
    pcie_replays: Fact[int] = _NOT_REPORTED
    links: Fact[tuple[Link, ...]] = _NOT_REPORTED
    links_active: Fact[int] = _NOT_REPORTED
    links_down: Fact[int] = _NOT_REPORTED
    link_replays: Fact[int] = _NOT_REPORTED
    link_recoveries: Fact[int] = _NOT_REPORTED
    link_crc: Fact[int] = _NOT_REPORTED
    fabric_state: Fact[str] = _NOT_REPORTED
    fabric_status: Fact[str] = _NOT_REPORTED
    recovery_action: Fact[str] = _NOT_REPORTED
    reset_required: Fact[bool] = _NOT_REPORTED
    mig: Fact[bool] = _NOT_REPORTED
    slices: Fact[tuple[Slice, ...]] = _NOT_REPORTED
    processes: Fact[tuple[Process, ...]] = _NOT_REPORTED
    error: Unknown | None = None


@dataclass(frozen=True)
class Xid:
    """An error that NVIDIA's kernel driver logged about a card.

    Attributes:
        code: Number in NVIDIA's Xid catalogue; 79 also where the driver says in words that the
            card fell off the bus.
        pci: Address as in `Card`.
        when: Time as the log has it; empty where it has none.
        words: What the driver said.
    """

    code: int
    pci: str
    when: str = ""
    words: str = ""


@dataclass(frozen=True)
class GpuFacts:
    """What one reading of one machine's cards says.

    Attributes:
        source: Word for the source (``nvidia-smi -q -x``, ``rocm-smi``, ...).
        label: Which of several readings in one recording; empty where there is one.
        taken: When, in the words of the source; empty where it does not say.
        failure: Why the cards as a whole could not be read; the driver's own words are in it.
        notes: What a person should know of the reading itself: it is cut, cards are missing.
    """

    source: str
    label: str = ""
    taken: str = ""
    driver: Fact[str] = _NOT_REPORTED
    runtime: Fact[str] = _NOT_REPORTED
    attached: Fact[int] = _NOT_REPORTED
    cards: tuple[Card, ...] = ()
    xids: tuple[Xid, ...] = ()
    failure: Unknown | None = None
    notes: tuple[str, ...] = field(default=())


def link_facts(links: Fact[tuple[Link, ...]]) -> dict[str, Any]:
    """Return the facts about ``links`` and their sums by field name of `Card`."""
    if isinstance(links, Unknown):
        return {"links": links, **dict.fromkeys(_LINK_SUMS, links)}
    states = [link.active.value for link in links.value if isinstance(link.active, Known)]
    odd = next((link.active for link in links.value if isinstance(link.active, Unknown)), None)
    counters = {"link_replays": "replays", "link_recoveries": "recoveries", "link_crc": "crc"}
    return {
        "links": links,
        "links_active": Known(sum(states)) if states or odd is None else odd,
        "links_down": odd or Known(len(states) - sum(states)),
        # A link that is down counts nothing.
        **{
            name: total(getattr(link, counter) for link in links.value)
            for name, counter in counters.items()
        },
    }


_LINK_SUMS = ("links_active", "links_down", "link_replays", "link_recoveries", "link_crc")


def make_card(values: Mapping[str, Any]) -> Card:
    """Return a card with the facts ``values`` by field name; the others are not reported."""
    return Card(**values)


def make_slice(values: Mapping[str, Any]) -> Slice:
    """Return a slice with the facts ``values`` by field name; the others are not reported."""
    return Slice(**values)
