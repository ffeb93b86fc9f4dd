"""The cards as Prometheus' metrics: what each can say, its state, and who has it.

What a card does not say has no sample: it is never zero. Units are base units, as Prometheus wants
them: bytes, ratios from 0 to 1, watts, degrees Celsius, hertz.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from labctl.facts.gpu.card import Card, Process
from labctl.facts.value import Fact, Known, Unknown
from labctl.gpu.reading import Reading
from labctl.gpu.show import Line
from labctl.gpu.state import State
from labctl.report.metrics import Family

_NOBODY = ""
_MEGA = 1e6


@dataclass(frozen=True)
class _Quantity:
    """A number that a card may tell: its metric, and how it is read off the facts."""

    name: str
    words: str
    of: Callable[[Card], Fact[float] | Fact[int] | Fact[bool]]
    factor: float = 1.0


# What a card tells as a whole; a MIG device tells none of it.
_QUANTITIES = (
    _Quantity("power_watts", "Power that the card draws.", lambda c: c.power),
    _Quantity("power_limit_watts", "Power that the card may draw.", lambda c: c.power_limit),
    _Quantity("temperature_celsius", "Temperature of the chip.", lambda c: c.temperature),
    _Quantity(
        "memory_temperature_celsius", "Temperature of the memory.", lambda c: c.temperature_memory
    ),
    _Quantity("fan_ratio", "Speed of the fan as a share of the most.", lambda c: c.fan, 0.01),
    _Quantity("clock_sm_hertz", "Clock of the processors.", lambda c: c.clock_sm, _MEGA),
    _Quantity("clock_memory_hertz", "Clock of the memory.", lambda c: c.clock_memory, _MEGA),
    _Quantity(
        "memory_bus_utilization_ratio",
        "Share of the time in which the memory was read or written.",
        lambda c: c.memory_utilisation, 0.01,
    ),
    _Quantity("pcie_width", "Lanes of the PCI Express link now.", lambda c: c.pcie_width),
    _Quantity("pcie_width_max", "Lanes that the link can have.", lambda c: c.pcie_width_max),
    _Quantity(
        "row_remap_pending", "Whether a memory row waits to be remapped.", lambda c: c.remap_pending
    ),
    _Quantity(
        "row_remap_failed", "Whether a memory row could not be remapped.", lambda c: c.remap_failed
    ),
)  # fmt: skip


def families(readings: Sequence[Reading], lines: Sequence[Line]) -> list[Family]:
    """Return the metrics of ``readings``, and of the units in them.

    Args:
        readings: A reading of each host, also of those that did not answer.
        lines: The units in them with their states.
    """
    return [*_hosts(readings), *_units(lines), *_cards(lines), *_people(lines)]


def _hosts(readings: Iterable[Reading]) -> list[Family]:
    up = Family("labctl_gpu_up", "Whether the host answered when its cards were asked for.")
    readable = Family("labctl_gpu_readable", "Whether the driver or tool of the cards answered.")
    cards = Family("labctl_gpu_cards", "Cards of the host, also those that cannot be read.")
    driver = Family("labctl_gpu_driver", "Driver of the cards, and how they were read.", "info")
    for reading in readings:
        host, facts = reading.host, reading.facts
        up.add(0.0 if reading.error else 1.0, host=host)
        if facts is None:
            continue
        readable.add(0.0 if facts.failure else 1.0, host=host)
        cards.add(float(len(facts.cards)), host=host)
        if facts.source and not facts.failure:
            driver.add(
                1.0, host=host, driver=_text(facts.driver), runtime=_text(facts.runtime),
                source=facts.source,
            )  # fmt: skip
    return [up, readable, cards, driver]


def _units(lines: Iterable[Line]) -> list[Family]:
    info = Family("labctl_gpu", "A card or MIG device: what it is.", "info")
    state = Family("labctl_gpu_state", "1 for the state that the card or MIG device is in.")
    size = Family("labctl_gpu_memory_size_bytes", "Memory of the card or MIG device.")
    used = Family("labctl_gpu_memory_used_bytes", "Memory in use.")
    reserved = Family("labctl_gpu_memory_reserved_bytes", "Memory that the driver keeps.")
    load = Family("labctl_gpu_utilization_ratio", "Share of the time in which the card worked.")
    count = Family("labctl_gpu_processes", "Processes on the card or MIG device.")
    for line in lines:
        unit, here = line.unit, _where(line)
        info.add(1.0, **here, model=unit.model, uuid=_text(unit.uuid), pci=_text(unit.card.pci))
        for one in State:
            state.add(float(line.verdict.state is one), **here, state=str(one))
        _add(size, unit.memory_total, here)
        _add(used, unit.memory_used, here)
        _add(reserved, unit.memory_reserved, here)
        _add(load, unit.utilisation, here, 0.01)
        if isinstance(unit.processes, Known):
            count.add(float(len(unit.processes.value)), **here)
    return [info, state, size, used, reserved, load, count]


def _cards(lines: Iterable[Line]) -> list[Family]:
    """Return what is said of whole cards, once for each, whatever it is divided into."""
    found = [Family(f"labctl_gpu_{one.name}", one.words) for one in _QUANTITIES]
    held = Family("labctl_gpu_clocks_held_down", "1 for each reason that holds the clocks down.")
    ecc = Family("labctl_gpu_ecc_errors", "Memory errors since the driver was loaded.", "counter")
    seen: set[int] = set()
    for line in lines:
        card = line.unit.card
        if id(card) in seen:
            continue
        seen.add(id(card))
        here = {"host": line.reading.host, "gpu": line.unit.name.partition(":")[0]}
        if line.unit.part is None:
            here = _where(line)
        for family, quantity in zip(found, _QUANTITIES, strict=True):
            _add(family, quantity.of(card), here, quantity.factor)
        for reason in card.throttle.value if isinstance(card.throttle, Known) else ():
            held.add(1.0, **here, reason=reason)
        _add(ecc, card.ecc_corrected, {**here, "kind": "corrected"})
        _add(ecc, card.ecc_uncorrected, {**here, "kind": "uncorrected"})
    return [*found, held, ecc]


def _people(lines: Iterable[Line]) -> list[Family]:
    count = Family("labctl_gpu_person_processes", "Processes of a person that compute.")
    memory = Family("labctl_gpu_person_memory_bytes", "Memory that a person's processes hold.")
    booked = Family("labctl_gpu_booked", "1 for who has booked the card or MIG device.")
    for line in lines:
        here = _where(line)
        held: dict[str, list[Process]] = {}
        for one in _computing(line):
            held.setdefault(_person(line, one.pid), []).append(one)
        for person, several in held.items():
            count.add(float(len(several)), **here, person=person)
            sizes = [one.memory.value for one in several if isinstance(one.memory, Known)]
            if len(sizes) == len(several):
                memory.add(float(sum(sizes)), **here, person=person)
        if line.verdict.person:
            booked.add(1.0, **here, person=line.verdict.person)
    return [count, memory, booked]


def _computing(line: Line) -> list[Process]:
    found = line.unit.processes
    if isinstance(found, Unknown):
        return []
    return [one for one in found.value if one.kind != Known("G")]


def _person(line: Line, pid: int) -> str:
    holder = line.reading.holders.get(pid)
    return holder.person if holder is not None else _NOBODY


def _where(line: Line) -> dict[str, str]:
    return {"host": line.reading.host, "gpu": line.unit.name}


def _text(fact: Fact[str]) -> str:
    return fact.value if isinstance(fact, Known) else ""


def _add(
    family: Family,
    fact: Fact[float] | Fact[int] | Fact[bool],
    labels: dict[str, str],
    factor: float = 1.0,
) -> None:
    if isinstance(fact, Known):
        family.add(float(fact.value) * factor, **labels)
