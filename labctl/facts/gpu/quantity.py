"""What monitoring programs print for a quantity, as a fact: a number with a unit, or why not.

Source of the words: nvidia-smi(1), "N/A", "Unknown Error" and the error strings of
nvmlErrorString in NVIDIA's NVML API reference; the rest as printed by rocm-smi and cnmon.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from labctl.facts.value import Fact, Known, Reason, Unknown, absent, unreadable

# How an answer without a value starts, in lower case and without brackets.
_NO_VALUE: tuple[tuple[str, Reason], ...] = (
    ("n/a", Reason.NOT_SUPPORTED),
    ("not supported", Reason.NOT_SUPPORTED),
    ("not available", Reason.NOT_SUPPORTED),
    ("function not found", Reason.NOT_SUPPORTED),
    ("requested functionality has been deprecated", Reason.NOT_SUPPORTED),
    ("not found", Reason.ABSENT),
    ("insufficient permissions", Reason.NO_PERMISSION),
    ("no permission", Reason.NO_PERMISSION),
    ("gpu is lost", Reason.LOST),
    ("gpu requires reset", Reason.LOST),
    ("timeout", Reason.TIMED_OUT),
    ("unknown error", Reason.UNREADABLE),
    ("err!", Reason.UNREADABLE),
    ("unknown", Reason.UNREADABLE),
)

_NUMBER = re.compile(r"\(?\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*([A-Za-z%/]*)")
_BYTES = {
    "": 1, "b": 1, "bytes": 1,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
    "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30,
}  # fmt: skip
_SCALES: dict[str, dict[str, float]] = {
    "watts": {"": 1.0, "w": 1.0, "mw": 0.001, "kw": 1000.0},
    "mhz": {"": 1.0, "mhz": 1.0, "khz": 0.001, "ghz": 1000.0},
    "percent": {"": 1.0, "%": 1.0},
    "celsius": {"": 1.0, "c": 1.0},
}
_YES = {"enabled", "yes", "active", "on", "true", "1"}
_NO = {"disabled", "no", "not active", "off", "false", "0"}


def no_value(text: str) -> Unknown | None:
    """Return why ``text`` holds no value, or None where it seems to hold one."""
    plain = text.strip().strip("[]").strip()
    if not plain:
        return absent("nothing printed")
    lower = plain.lower()
    for start, reason in _NO_VALUE:
        # A name may begin with such a word: "Unknown" is no value, "Unknown Soldier" is one.
        if lower == start or (lower.startswith(start) and not lower[len(start)].isalnum()
                              and len(start) > len("unknown")):  # fmt: skip
            return Unknown(reason, plain if reason is not Reason.NOT_SUPPORTED else "")
    return None


def number(text: str, kind: str, unit: str = "") -> float:
    """Return the number that ``text`` starts with, in the unit of ``kind``.

    Args:
        text: As printed: ``143771 MiB``, ``65 %``, ``(96Mhz)``.
        kind: ``bytes``, ``watts``, ``mhz``, ``percent``, ``celsius`` or ``count``.
        unit: Unit where the text has none (that of a CSV column).

    Raises:
        ValueError: There is no number, or its unit is not one of that kind.
    """
    if kind == "count":
        return float(_whole(text))
    match = _NUMBER.match(text.strip())
    if not match:
        raise ValueError(text)
    said = (match.group(2) or unit).lower().strip()
    scales = _BYTES if kind == "bytes" else _SCALES[kind]
    if said not in scales:
        raise ValueError(text)
    return float(match.group(1)) * scales[said]


def _whole(text: str) -> int:
    match = re.match(r"\s*(?:(0x[0-9a-fA-F]+)|([-+]?\d+))", text)
    if not match:
        raise ValueError(text)
    return int(match.group(1), 16) if match.group(1) else int(match.group(2))


def switch(text: str) -> bool:
    """Return whether ``text`` says that something is on.

    Raises:
        ValueError: It is no such word.
    """
    lower = text.strip().strip("[]").lower()
    if lower in _YES:
        return True
    if lower in _NO:
        return False
    raise ValueError(text)


def pci_address(text: str) -> str:
    """Return a PCI address as ``dddd:bb:dd.f``, lower case.

    Raises:
        ValueError: It is none.
    """
    match = re.fullmatch(
        r"(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})(?:\.([0-7]))?", text.strip()
    )
    if not match:
        raise ValueError(text)
    domain, bus, device, function = match.groups()
    return f"{int(domain or '0', 16):04x}:{bus}:{device}.{function or '0'}".lower()


_READERS: dict[str, Callable[[str, str], Any]] = {
    "bytes": lambda text, unit: int(number(text, "bytes", unit)),
    "count": lambda text, unit: _whole(text),
    "watts": lambda text, unit: number(text, "watts", unit),
    "mhz": lambda text, unit: number(text, "mhz", unit),
    "percent": lambda text, unit: number(text, "percent", unit),
    "celsius": lambda text, unit: number(text, "celsius", unit),
    "switch": lambda text, unit: switch(text),
    "pci": lambda text, unit: pci_address(text),
    "text": lambda text, unit: " ".join(text.split()),
}


def read(text: str | None, kind: str, unit: str = "") -> Fact[Any]:
    """Return what ``text`` says as a fact of ``kind``; None is a field that is not there."""
    if text is None:
        return absent("not reported")
    missing = no_value(text)
    if missing is not None:
        return missing
    try:
        return Known(_READERS[kind](text, unit))
    except (ValueError, OverflowError):
        return unreadable(text.strip())


def first(facts: Iterable[Fact[Any]]) -> Fact[Any]:
    """Return the first fact that is known; else the first that gives a better reason than absent.

    Several names for one quantity: a driver has the old one, the new one or both.
    """
    best: Fact[Any] = absent("not reported")
    for fact in facts:
        if isinstance(fact, Known):
            return fact
        if isinstance(best, Unknown) and best.reason is Reason.ABSENT:
            best = fact
    return best


def total(facts: Iterable[Fact[int]]) -> Fact[int]:
    """Return the sum of those that are known; where none is, why the first is not."""
    items = list(facts)
    known = [fact.value for fact in items if isinstance(fact, Known)]
    return Known(sum(known)) if known else first(items)
