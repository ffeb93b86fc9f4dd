"""What is served of hosts and cards, and that the dashboard asks for nothing else."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from labctl.facts.gpu.card import Card, GpuFacts, Process, make_card, make_slice
from labctl.facts.gpu.people import Holder
from labctl.facts.value import Known, Reason, Unknown
from labctl.gpu import metrics as gpu
from labctl.gpu.reading import Reading
from labctl.gpu.rule import Booking, judge
from labctl.gpu.show import lines
from labctl.health.report import HostReport
from labctl.metrics.collector import Readings
from labctl.metrics.grafana import dashboard
from labctl.metrics.jobs import Cards
from labctl.metrics.regular import Job, Regular, Seen
from labctl.report.metrics import Family

Series = dict[frozenset[tuple[str, str]], float]


def series(families: Iterable[Family], name: str) -> Series:
    """Return the samples ``name``: labels -> value."""
    return {
        frozenset(sample.labels.items()): sample.value
        for family in families
        for sample in family.metric.samples
        if sample.name == name
    }


def key(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def card(**more: Any) -> Card:
    known: dict[str, Any] = {
        "index": 0, "name": "Test", "uuid": "GPU-1", "pci": "0000:01:00.0",
        "memory_total": 1000, "memory_reserved": 10, "memory_used": 900, "utilisation": 55.0,
        "power": 250.5, "clock_sm": 1980.0, "temperature": 40.0, "fan": 30.0, "mig": False,
        "throttle": ("hw_thermal_slowdown",), "ecc_corrected": 1, "ecc_uncorrected": 2,
        "remap_pending": True, "processes": (),
    }  # fmt: skip
    return make_card({name: Known(value) for name, value in {**known, **more}.items()})


def reading(*cards: Card, **more: Any) -> Reading:
    return Reading("h", GpuFacts("NVML", driver=Known("999"), cards=cards), **more)


def metrics(*readings: Reading, booking: Booking | None = None) -> list[Family]:
    shown = lines(readings, lambda reading, unit: judge(unit, booking=booking))
    return gpu.families(readings, shown)


def test_a_card_in_base_units() -> None:
    found = metrics(reading(card()))
    here = key(host="h", gpu="0")
    for name, value in {
        "utilization_ratio": 0.55, "power_watts": 250.5, "clock_sm_hertz": 1.98e9,
        "temperature_celsius": 40.0, "fan_ratio": 0.3, "memory_size_bytes": 1000.0,
        "memory_used_bytes": 900.0, "memory_reserved_bytes": 10.0, "row_remap_pending": 1.0,
        "processes": 0.0,
    }.items():  # fmt: skip
        assert series(found, f"labctl_gpu_{name}") == {here: pytest.approx(value)}, name
    errors = series(found, "labctl_gpu_ecc_errors_total")
    assert errors == {here | key(kind="corrected"): 1.0, here | key(kind="uncorrected"): 2.0}
    assert series(found, "labctl_gpu_info") == {
        here | key(model="Test", uuid="GPU-1", pci="0000:01:00.0"): 1.0
    }
    states = series(found, "labctl_gpu_state")
    assert len(states) == 7
    assert [labels for labels, value in states.items() if value] == [here | key(state="ghost")]


def test_what_a_card_does_not_say_has_no_sample() -> None:
    found = metrics(reading(make_card({"index": Known(0)})))
    assert len(series(found, "labctl_gpu_state")) == 7
    for name in ("power_watts", "utilization_ratio", "memory_used_bytes", "processes", "fan_ratio"):
        assert series(found, f"labctl_gpu_{name}") == {}
    # Two cards that do not even say which they are make one series, not two of one name.
    twice = metrics(reading(make_card({}), make_card({})))
    assert len(series(twice, "labctl_gpu_state")) == 7


def test_a_host_that_is_down_and_a_driver_that_fails() -> None:
    failed = GpuFacts("nvidia-smi", failure=Unknown(Reason.UNREADABLE, "x"))
    found = metrics(Reading("down", error="no answer"), Reading("sick", failed))
    assert series(found, "labctl_gpu_up") == {key(host="down"): 0.0, key(host="sick"): 1.0}
    assert series(found, "labctl_gpu_readable") == {key(host="sick"): 0.0}
    assert series(found, "labctl_gpu_cards") == {key(host="sick"): 0.0}


def test_mig_devices_are_units_and_the_card_is_told_once() -> None:
    parts = tuple(
        make_slice({"index": Known(at), "uuid": Known(f"MIG-{at}"), "gpu_instance": Known(at),
                    "compute_instance": Known(0), "memory_total": Known(500)})
        for at in (0, 1)
    )  # fmt: skip
    found = metrics(reading(card(mig=True, slices=parts)))
    units = {dict(labels)["gpu"] for labels in series(found, "labctl_gpu_info")}
    assert units == {"0:0", "0:1"}
    assert series(found, "labctl_gpu_power_watts") == {key(host="h", gpu="0"): 250.5}
    assert series(found, "labctl_gpu_utilization_ratio") == {}


def test_people_and_their_memory() -> None:
    def process(pid: int, memory: int | None, kind: str = "C") -> Process:
        used = Known(memory) if memory is not None else Unknown(Reason.NOT_SUPPORTED)
        return Process(pid, kind=Known(kind), memory=used)

    several = (process(1, 100), process(2, 200), process(3, None), process(4, 5, "G"))
    holders = {pid: Holder(pid, user=Known("ada" if pid < 3 else "bob")) for pid in (1, 2, 3, 4)}
    found = metrics(
        reading(card(processes=several), holders=holders), booking=Booking("eve", "18:00")
    )
    here = key(host="h", gpu="0")
    assert series(found, "labctl_gpu_person_processes") == {
        here | key(person="ada"): 2.0, here | key(person="bob"): 1.0,
    }  # fmt: skip
    # Of bob's process the memory is not known, so neither is his sum.
    assert series(found, "labctl_gpu_person_memory_bytes") == {here | key(person="ada"): 300.0}
    assert series(found, "labctl_gpu_booked") == {here | key(person="eve"): 1.0}


class Past(Regular):
    """A `Regular` that has done its jobs already."""

    def __init__(self, seen: dict[Job[object], Seen[object]]) -> None:
        super().__init__([], every=1, workers=1)
        self._seen = seen


def job(host: str, about: str) -> Job[object]:
    return Job(host, about, lambda: None, bool)


def test_old_readings_have_an_age_and_new_hosts_none() -> None:
    gone = HostReport("gone", 1.0, error="no answer")
    cards = Cards(reading(card()), tuple(lines([reading(card())])), "without bookings: locked")
    collector = Readings(
        Past({
            job("gone", "check"): Seen(gone, good_at=1.0, runs=5, failures=2),
            job("h", "gpu"): Seen(cards, good_at=1.0, runs=1),
            job("new", "check"): Seen(),
        })
    )  # fmt: skip
    found = {family.name: family for family in collector.collect()}
    ages = {one.labels["host"]: one.value for one in found["labctl_reading_age_seconds"].samples}
    assert sorted(ages) == ["gone", "h"]
    assert ages["gone"] > 1e9
    up = {one.labels["host"]: one.value for one in found["labctl_check_up"].samples}
    assert up == {"gone": 0.0}
    failures = {one.labels["host"]: one.value for one in found["labctl_reading_failures"].samples}
    assert failures == {"gone": 2.0, "h": 0.0, "new": 0.0}
    assert [one.value for one in found["labctl_gpu_bookings_known"].samples] == [0.0]
    assert found["labctl_gpu_state"].samples


def served() -> set[str]:
    suffix = {"counter": "_total", "info": "_info"}
    return {one.name + suffix.get(one.type, "") for one in Readings(Past({})).collect()}


def test_names_follow_prometheus_conventions() -> None:
    families = list(Readings(Past({})).collect())
    assert len({one.name for one in families}) == len(families)
    for one in families:
        assert re.fullmatch(r"labctl_[a-z_]+", one.name), one.name
        assert not one.name.endswith(("_total", "_info", "_count", "_sum", "_bucket")), one.name
        assert not re.search(r"_(percent|mhz|mib|gib|ms|minutes|celcius|watt|byte)$", one.name)
        assert one.documentation.endswith("."), one.name


def test_the_dashboard_asks_for_what_is_served() -> None:
    page = json.loads(dashboard())
    exprs = [target["expr"] for panel in page["panels"] for target in panel.get("targets", ())]
    assert len(exprs) > 15
    names = {name for expr in exprs for name in re.findall(r"\blabctl_\w+", expr)}
    names |= set(re.findall(r"\blabctl_\w+", json.dumps(page["templating"])))
    assert names <= served(), names - served()
    places = [panel["gridPos"] for panel in page["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)), "panels lie on each other"
    assert max(x for x, _ in cells) < 24  # Grafana's width
    assert len({panel["id"] for panel in page["panels"]}) == len(page["panels"])


def test_the_page_of_docs_names_every_metric() -> None:
    text = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    for name in served():
        assert f"`{name}`" in text, name
