"""What NVML told (`nvml_reader`), as facts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from labctl.facts.gpu.card import (
    Card,
    GpuFacts,
    Link,
    Process,
    Slice,
    link_facts,
    make_card,
    make_slice,
)
from labctl.facts.gpu.quantity import pci_address
from labctl.facts.value import Fact, Known, Reason, Unknown, absent

NAME = "NVML"

# nvmlReturn_t (nvml.h) to the reasons that a health rule must tell apart.
_REASONS = {
    3: (Reason.NOT_SUPPORTED, ""),
    4: (Reason.NO_PERMISSION, ""),
    6: (Reason.ABSENT, "not found"),
    9: (Reason.ABSENT, "the NVIDIA driver is not loaded"),
    10: (Reason.TIMED_OUT, "the driver timed out"),
    12: (Reason.ABSENT, "there is no libnvidia-ml"),
    13: (Reason.NOT_SUPPORTED, "this driver has no such function"),
    15: (Reason.LOST, "GPU is lost"),
    16: (Reason.LOST, "the card requires a reset"),
    18: (Reason.UNREADABLE, "driver and library are of different versions"),
    999: (Reason.UNREADABLE, "the driver says 'Unknown Error'"),
}
# Milliwatts and numbers that are yes or no; the rest is as `Card` has it.
_MILLI = {"power", "power_limit", "power_limit_default", "power_limit_max"}
_SWITCHES = {"persistence", "display", "ecc", "remap_pending", "remap_failed", "retire_pending",
             "mig"}  # fmt: skip
_TEXTS = {"name", "uuid", "serial", "vbios", "architecture", "compute_mode", "recovery_action",
          "fabric_state", "fabric_status"}  # fmt: skip
_NOT_OF_CARD = {"handle", "power_limit_min"}


def parse(lines: str, *, whole: bool = True) -> GpuFacts:
    """Return the facts in the lines of `nvml_reader`.

    Args:
        lines: What it wrote.
        whole: It ended; if not, what is missing timed out.
    """
    late = Unknown(Reason.TIMED_OUT, "the driver does not answer")
    cards: list[Card] = []
    system: dict[str, Any] = {}
    ended = False
    for text in lines.splitlines():
        try:
            data = json.loads(text)
        except ValueError:
            continue  # the last line was cut
        if "failed" in data:
            return GpuFacts(NAME, failure=_why(data["failed"], str(data.get("words", ""))))
        if "system" in data:
            system = data["system"]
        elif "card" in data:
            cards.append(_card(data["card"], data["facts"]))
        ended = ended or "end" in data
    notes: tuple[str, ...] = ()
    failure = None
    if not ended:
        missing = late if not whole else Unknown(Reason.LOST, "the reader of NVML died")
        if cards or system:
            index = len(cards)
            cards.append(make_card({"index": Known(index), "error": missing}))
            notes = (f"reading stopped at card {index}: {missing}; those after it are not known",)
        else:
            failure = missing
    cuda = _fact(system.get("cuda"), int)
    return GpuFacts(
        NAME,
        driver=_fact(system.get("driver"), str),
        runtime=cuda.map(lambda version: f"{version // 1000}.{version % 1000 // 10}"),
        cards=tuple(cards),
        failure=failure,
        notes=notes,
    )


def _why(code: int, words: str = "") -> Unknown:
    reason, own = _REASONS.get(code, (Reason.UNREADABLE, f"NVML error {code}"))
    return Unknown(reason, own or words)


def _fact(entry: list[Any] | None, kind: Callable[[Any], Any]) -> Fact[Any]:
    if entry is None:
        return absent("not reported")
    code, value = entry
    if code:
        return _why(code)
    return absent("not reported") if value is None else Known(kind(value))


def _card(index: int, said: dict[str, list[Any]]) -> Card:
    values: dict[str, Any] = {"index": Known(index), "vendor": Known("NVIDIA")}
    if "handle" in said:
        return make_card({**values, "error": _why(said["handle"][0])})
    for name, entry in said.items():
        if name in _NOT_OF_CARD:
            continue
        if name in _MILLI:
            values[name] = _fact(entry, lambda value: value / 1000)
        elif name in _SWITCHES:
            values[name] = _fact(entry, bool)
        elif name == "pci":
            values[name] = _fact(entry, pci_address)
        elif name == "performance_state":
            values[name] = _fact(entry, lambda value: f"P{value}")
        elif name == "throttle":
            values[name] = _fact(entry, tuple)
        elif name == "processes":
            values[name] = _fact(entry, lambda value: tuple(map(_process, value)))
        elif name == "slices":
            values[name] = _fact(entry, lambda value: tuple(map(_slice, value)))
        elif name == "links":
            values |= link_facts(_fact(entry, lambda value: tuple(map(_link, value))))
        else:
            values[name] = _fact(entry, _kind(name))
    vital = [values.get(name) for name in ("memory_used", "utilisation", "temperature")]
    lost = [fact for fact in vital if isinstance(fact, Unknown) and fact.reason is Reason.LOST]
    return make_card({**values, "error": lost[0] if lost else None})


_FLOATS = {"utilisation", "memory_utilisation", "encoder_utilisation", "decoder_utilisation",
           "clock_sm", "clock_sm_max", "clock_memory", "clock_memory_max", "temperature",
           "temperature_memory", "temperature_slowdown", "temperature_shutdown",
           "temperature_margin", "fan"}  # fmt: skip


def _kind(name: str) -> Callable[[Any], Any]:
    if name in _TEXTS:
        return str
    return float if name in _FLOATS else int


def _optional(value: Any) -> Fact[Any]:  # noqa: ANN401
    return Unknown(Reason.NOT_SUPPORTED) if value is None else Known(value)


def _process(entry: dict[str, Any]) -> Process:
    name = entry.get("name")
    return Process(
        pid=entry["pid"],
        name=Known(str(name)) if name else Unknown(Reason.UNREADABLE, "it has no name here"),
        kind=Known(entry["kind"]),
        memory=_optional(entry.get("memory")),
        gpu_instance=_optional(entry.get("gpu_instance")),
        compute_instance=_optional(entry.get("compute_instance")),
    )


def _link(said: dict[str, list[Any]]) -> Link:
    active = _fact(said.get("active"), bool)
    if active == Known(False):
        return Link(said["number"][1], active)
    return Link(
        said["number"][1],
        active,
        version=_fact(said.get("version"), str),
        speed=_fact(said.get("speed"), lambda value: value / 1000),  # megabytes a second
        replays=_fact(said.get("replays"), int),
        recoveries=_fact(said.get("recoveries"), int),
        crc=_fact(said.get("crc"), int),
    )


def _slice(said: dict[str, list[Any]]) -> Slice:
    return make_slice(
        {
            name: _fact(entry, str if name in ("uuid", "profile") else int)
            for name, entry in said.items()
        }
    )
