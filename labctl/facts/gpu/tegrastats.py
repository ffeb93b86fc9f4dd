"""``tegrastats``: one line of figures for each second of an NVIDIA Jetson.

Its graphics part shares the memory of the system. Case and units differ between releases.
Source: NVIDIA Jetson Linux Developer Guide, "tegrastats Utility".
"""

from __future__ import annotations

import re

from labctl.facts.gpu.card import GpuFacts, make_card
from labctl.facts.gpu.quantity import read
from labctl.facts.value import Fact, Known, absent

NAME = "tegrastats"

_LINE = re.compile(r"\bRAM (\d+)/(\d+)MB\b.*\bGR3D\w*\b")
_LOAD = re.compile(r"\bGR3D\w* (\d+)%(?:@\[?(\d+))?")
_HEAT = re.compile(r"\bGPU@(-?\d+(?:\.\d+)?)C", re.IGNORECASE)
# The rail of the graphics part, else of the whole module; newest names first.
_RAILS = ("VDD_GPU_SOC", "VDD_CPU_GPU_CV", "VDD_GPU", "POM_5V_GPU", "VDD_SYS_GPU")


def recognises(text: str) -> bool:
    """Tell whether ``text`` has such lines."""
    return bool(_LINE.search(text))


def parse(text: str) -> list[GpuFacts]:
    """Return the last line as a reading."""
    # splitlines() knows more ends of a line than the pattern does.
    line = [line for line in text.split("\n") if _LINE.search(line)][-1]
    memory = _LINE.search(line)
    load, heat = _LOAD.search(line), _HEAT.search(line)
    values: dict[str, object] = {
        "index": Known(0),
        "name": Known("Jetson"),
        "vendor": Known("NVIDIA"),
        "utilisation": read(load.group(1), "percent") if load else absent("not reported"),
        "clock_sm": read(load.group(2), "mhz") if load else absent("not reported"),
        "temperature": read(heat.group(1), "celsius") if heat else absent("not reported"),
        "power": _power(line),
    }
    if memory:
        used, whole = int(memory.group(1)) << 20, int(memory.group(2)) << 20
        values |= {"memory_used": Known(used), "memory_total": Known(whole)}
    note = "the graphics part of a Jetson shares the system's memory, and lists no processes"
    return [GpuFacts(NAME, cards=(make_card(values),), notes=(note,))]


def _power(line: str) -> Fact[float]:
    for rail in _RAILS:
        match = re.search(rf"\b{rail} (\d+)(?:mW)?/", line)
        if match:
            return Known(int(match.group(1)) / 1000)
    return absent("not reported")
