"""What ``labctl gpu`` shows: a line for each card, or the same as data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from labctl.facts.gpu.card import Process
from labctl.facts.value import Fact, Known, Unknown, to_json
from labctl.gpu.reading import Reading, Unit, units
from labctl.gpu.rule import Verdict, judge
from labctl.gpu.state import State
from labctl.report.sanitize import clean_line

HEADER = ("HOST", "GPU", "STATE", "MODEL", "MEMORY GiB", "LOAD", "TEMP", "POWER W", "WHO", "NOTES")
COLOURS = {
    State.FREE: "green",
    State.BUSY: "",
    State.IDLE_HELD: "yellow",
    State.GHOST: "yellow",
    State.BOOKED: "cyan",
    State.SICK: "red",
    State.UNKNOWN: "red",
}
_GIB = 1 << 30


@dataclass(frozen=True)
class Line:
    """A unit with its verdict."""

    reading: Reading
    unit: Unit
    verdict: Verdict

    @property
    def under_slurm(self) -> bool:
        """Slurm gives it away, and nobody else."""
        return self.verdict.claim is not None


def lines(
    readings: Iterable[Reading], rule: Callable[[Reading, Unit], Verdict] | None = None
) -> list[Line]:
    """Return a line for each unit of ``readings``, in their order."""
    rule = rule or _plain
    return [
        Line(reading, unit, rule(reading, unit))
        for reading in readings
        if reading.facts is not None
        for card in reading.facts.cards
        for unit in units(card)
    ]


def _plain(reading: Reading, unit: Unit) -> Verdict:
    assert reading.facts is not None
    xids = [xid for xid in reading.facts.xids if Known(xid.pci) == unit.card.pci]
    return judge(unit, xids=xids)


def label(reading: Reading) -> str:
    """Return the name of a reading: the machine, and which reading of a recording."""
    if reading.facts is not None and reading.facts.label:
        return f"{reading.host} ({reading.facts.label})"
    return reading.host


def cells(line: Line) -> list[str]:
    """Return the cells of a line below `HEADER`."""
    unit, card = line.unit, line.unit.card
    notes = [line.verdict.why, *suspects(line), *line.verdict.notes]
    return [
        label(line.reading),
        unit.name,
        str(line.verdict.state),
        unit.model or "-",
        _pair(unit.memory_used, unit.memory_total, _GIB, "{:.1f}"),
        _one(unit.utilisation, "{:.0f}%"),
        _one(card.temperature, "{:.0f}C"),
        _pair(card.power, card.power_limit, 1, "{:.0f}"),
        people(line) or "-",
        clean_line("; ".join(note for note in notes if note), limit=160),
    ]


def _one(fact: Fact[float], form: str) -> str:
    return form.format(fact.value) if isinstance(fact, Known) else "-"


def _pair(part: Fact[int] | Fact[float], whole: Fact[int] | Fact[float], by: int, form: str) -> str:
    texts = [
        form.format(one.value / by) if isinstance(one, Known) else "-" for one in (part, whole)
    ]
    return "-" if texts == ["-", "-"] else "/".join(texts)


def people(line: Line) -> str:
    """Return who uses the unit, each with the program and the time, the biggest first."""
    found = line.unit.processes
    computing = [] if isinstance(found, Unknown) else found.value
    ordered = sorted(
        (one for one in computing if one.kind != Known("G")), key=_memory, reverse=True
    )
    words = [_person(line.reading, one) for one in ordered]
    claim = line.verdict.claim
    if claim is not None and claim.job:
        words.insert(0, f"{claim.user} (Slurm job {claim.job})")
    return clean_line(", ".join(dict.fromkeys(words)), limit=80)


def named_people(line: Line) -> list[str]:
    """Return the names of those who use the unit, the one with the most memory first."""
    claim = line.verdict.claim
    if claim is not None and claim.job:
        return [claim.user]
    found = line.unit.processes
    if isinstance(found, Unknown):
        return []
    ordered = sorted((one for one in found.value if one.kind != Known("G")), key=_memory)
    holders = [line.reading.holders.get(one.pid) for one in reversed(ordered)]
    return list(dict.fromkeys(one.person for one in holders if one is not None and one.person))


def suspects(line: Line) -> list[str]:
    """Return who may hold the memory of a ghost: who has the card open and is not listed."""
    card = line.unit.card
    if line.verdict.state is not State.GHOST or not isinstance(card.minor, Known):
        return []
    listed = card.processes.value if isinstance(card.processes, Known) else ()
    known = {process.pid for process in listed}
    pids = {
        one.pid
        for one in line.reading.open_devices
        if one.device == f"/dev/nvidia{card.minor.value}" and one.pid not in known
    }
    said = []
    for pid in sorted(pids):
        holder = line.reading.holders.get(pid)
        who = f" ({holder.person})" if holder and holder.person else ""
        said.append(f"open in process {pid}{who}")
    return said


def _memory(process: Process) -> int:
    return process.memory.value if isinstance(process.memory, Known) else 0


def _person(reading: Reading, process: Process) -> str:
    program = process.name.value.split("/")[-1] if isinstance(process.name, Known) else "?"
    program = clean_line(program, limit=24)
    holder = reading.holders.get(process.pid)
    if holder is None or not holder.person:
        return program
    inside = f" in {holder.container.value}" if isinstance(holder.container, Known) else ""
    since = f" {duration(holder.started.value)}" if isinstance(holder.started, Known) else ""
    return f"{holder.person} {program}{inside}{since}"


def duration(seconds: float) -> str:
    """Return ``seconds`` in the largest unit that fits: ``40s``, ``12m``, ``5h``, ``3d``."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def remarks(reading: Reading) -> list[str]:
    """Return what is to be said of a reading as a whole, a line each."""
    said = []
    if reading.error:
        action = f"; {reading.action}" if reading.action else ""
        said.append(f"{reading.error}{action}")
    facts = reading.facts
    if facts is not None:
        if facts.failure is not None:
            said.append(f"no card can be read: {facts.failure}")
        elif not facts.cards:
            said.append("no card")
        said += facts.notes
    if reading.slurm is not None and reading.slurm.failure is not None:
        said.append(f"under Slurm, which does not say all: {reading.slurm.failure}")
    return [clean_line(f"{label(reading)}: {text}") for text in said]


def as_data(readings: Iterable[Reading], shown: Iterable[Line]) -> dict[str, object]:
    """Return everything as the data of the ``labctl.gpu/1`` document."""
    by_reading: dict[int, list[Line]] = {}
    for line in shown:
        by_reading.setdefault(id(line.reading), []).append(line)
    return {
        "hosts": [_host(reading, by_reading.get(id(reading), [])) for reading in readings],
    }


def _host(reading: Reading, own: list[Line]) -> Mapping[str, object]:
    facts = reading.facts
    head: dict[str, object] = {
        "host": reading.host,
        "error": reading.error,
        "action": reading.action,
        "age_s": reading.age_s,
        "units": [_unit(line) for line in own],
        "slurm": to_json(reading.slurm),
    }
    if facts is not None:
        head |= {
            "reading": facts.label,
            "source": facts.source,
            "taken": facts.taken,
            "driver": to_json(facts.driver),
            "runtime": to_json(facts.runtime),
            "failure": to_json(facts.failure),
            "notes": list(facts.notes),
            "cards": to_json(facts.cards),
            "xids": to_json(facts.xids),
            "people": to_json(list(reading.holders.values())),
            "open_devices": to_json(reading.open_devices),
        }
    return head


def _unit(line: Line) -> Mapping[str, object]:
    unit = line.unit
    return {
        "unit": unit.name,
        "state": str(line.verdict.state),
        "why": line.verdict.why,
        "notes": list(line.verdict.notes),
        "model": unit.model,
        "uuid": to_json(unit.uuid),
        "memory_total": to_json(unit.memory_total),
        "memory_used": to_json(unit.memory_used),
        "utilisation": to_json(unit.utilisation),
        "processes": to_json(unit.processes),
        "who": people(line),
        "slurm": to_json(line.verdict.claim),
        "suspects": suspects(line),
    }
