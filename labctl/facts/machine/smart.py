"""Health of disks as they tell it themselves, by smartctl of smartmontools (root only).

Source: smartctl(8), ``--json``; NVMe Base Specification 2.0, SMART / Health Information log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from labctl.facts.machine.probe import Probe, Section, Sections
from labctl.facts.value import Fact, Known, Reason, Unknown, absent, unreadable

_V = TypeVar("_V")

# ATA attributes by number: sectors that were replaced, that wait for it, that cannot be read.
_REALLOCATED, _PENDING, _UNCORRECTABLE = 5, 197, 198


@dataclass(frozen=True)
class Drive:
    """One drive.

    Attributes:
        device: Device file.
        model: As it calls itself.
        passed: Its own verdict over itself.
        celsius: Temperature.
        wear: Share of its life that is used, 0 to 1 and beyond (NVMe).
        media_errors: Errors that it could not correct (NVMe).
        bad_sectors: Sectors replaced, waiting to be, or not readable (ATA).
    """

    device: str
    model: Fact[str]
    passed: Fact[bool]
    celsius: Fact[float]
    wear: Fact[float]
    media_errors: Fact[int]
    bad_sectors: Fact[int]


@dataclass(frozen=True)
class Smart:
    """All drives that smartctl finds."""

    drives: Fact[Sequence[Drive]]


def parse(text: str) -> Smart:
    """Return the facts in the output of the snippet."""
    found = Sections(text)
    scan = found["scan"]
    trouble = scan.trouble("smartctl")
    if trouble:
        return Smart(trouble)
    drives = tuple(_drive(name, section) for name, section in found.all("drive ").items())
    return Smart(Known(drives) if drives else absent("smartctl finds no drive"))


def read_report(device: str, text: str) -> Drive:
    """Return the facts of one ``smartctl --json`` report."""
    try:
        report = json.loads(text)
    except (ValueError, RecursionError):
        why = unreadable(text.strip())
        return Drive(device, why, why, why, why, why, why)
    log = _at(report, "nvme_smart_health_information_log")
    percent = _number(log, "percentage_used")
    return Drive(
        device,
        _typed(_at(report, "model_name"), str),
        _typed(_at(report, "smart_status", "passed"), bool),
        _number(report, "temperature", "current"),
        Known(percent.value / 100) if isinstance(percent, Known) else percent,
        _whole(_number(log, "media_errors")),
        _bad_sectors(_at(report, "ata_smart_attributes", "table")),
    )


def recognises(text: str) -> bool:
    """Tell whether ``text`` is a report of ``smartctl --json``."""
    return text.lstrip().startswith("{") and '"smartctl"' in text


def from_report(text: str) -> Smart:
    """Return the facts in one report, for instance a file of somebody else's."""
    try:
        named = _at(json.loads(text), "device", "name")
    except (ValueError, RecursionError):
        named = None
    return Smart(Known((read_report(named if isinstance(named, str) else "", text),)))


def _drive(device: str, section: Section) -> Drive:
    # smartctl's status is a set of bits about the disk; the report is whole all the same.
    if section.status in (None, 124, 127) or not section.lines:
        why = section.trouble("smartctl") or absent("smartctl said nothing")
        return Drive(device, why, why, why, why, why, why)
    drive = read_report(device, section.text)
    if isinstance(drive.passed, Unknown) and "ermission denied" in section.text:
        why = Unknown(Reason.NO_PERMISSION, "only root may ask drives")
        return Drive(device, why, why, why, why, why, why)
    return drive


def _at(report: object, *keys: str) -> object:
    for key in keys:
        report = report.get(key) if isinstance(report, Mapping) else None
    return report


def _typed(value: object, kind: type[_V]) -> Fact[_V]:
    return Known(value) if isinstance(value, kind) else absent("it does not tell")


def _number(report: object, *keys: str) -> Fact[float]:
    value = _at(report, *keys)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Known(float(value))
    return absent("it does not tell")


def _whole(value: Fact[float]) -> Fact[int]:
    return Known(int(value.value)) if isinstance(value, Known) else value


def _bad_sectors(table: object) -> Fact[int]:
    if not isinstance(table, list):
        return absent("it does not tell")
    counts = []
    for row in table:
        if _at(row, "id") in (_REALLOCATED, _PENDING, _UNCORRECTABLE):
            raw = _number(row, "raw", "value")
            if isinstance(raw, Known):
                counts.append(int(raw.value))
    return Known(sum(counts)) if counts else absent("it does not tell")


PROBE = Probe(
    "smart",
    """\
part scan 10 smartctl --scan
command -v smartctl >/dev/null && smartctl --scan | cut -d' ' -f1 | while read -r disk; do
part "drive $disk" 10 smartctl --json -i -H -A "$disk"
done
true""",
    parse,
    order=80,
)
