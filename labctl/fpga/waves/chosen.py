"""Which signals of a recording to show first: clocks, resets, ports, what moved near the end."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import LabctlError
from labctl.fpga.waves.fst import FstFile
from labctl.fpga.waves.model import Signal, Trace

_CLOCK = re.compile(r"(?:^|_)(?:clk|clock|aclk|[a-z]{1,3}clk)(?:_|\d|$)", re.IGNORECASE)
_RESET = re.compile(r"(?:^|_)a?(?:rst|reset|resetn|rstn|aresetn)(?:_|\d|n|$)", re.IGNORECASE)
# Names in what a test complains of, such as "LogicObject(top.part.data).value".
_NAMED = re.compile(r"[A-Za-z_][\w$]*(?:\.[A-Za-z_][\w$]*)+")
CYCLES = 16
# Of larger designs only so many signals are looked at, and so many are shown as near the end.
_MAX_SIGNALS, _MAX_NEAR = 2000, 12
_LAST_CYCLES = 4


@dataclass(frozen=True)
class Group:
    """Signals that belong together, with a title."""

    title: str
    signals: tuple[Signal, ...]


@dataclass(frozen=True)
class Chosen:
    """What to show of a recording.

    Attributes:
        groups: Signals in the order in which they are shown; none twice.
        traces: Their values in the last cycles, by name.
        start: Time at which the last cycles begin, in units of the recording.
        end: When it ends.
        unit_s: Its unit, seconds.
    """

    groups: tuple[Group, ...]
    traces: Mapping[str, Trace]
    start: int
    end: int
    unit_s: float

    @property
    def signals(self) -> list[Signal]:
        """All of them."""
        return [one for group in self.groups for one in group.signals]


def choose(path: Path, top: str, ports: Mapping[str, str], message: str = "") -> Chosen:
    """Return what to show of the recording ``path``.

    Args:
        path: A file in the format FST.
        top: The module that is simulated.
        ports: Its ports, with their directions.
        message: What the test complained of; signals that it names are shown.

    Raises:
        LabctlError: It cannot be read, or has no signals.
    """
    waves = FstFile(path)
    signals = [one for one in waves.signals if one.bits and one.kind != "parameter"]
    signals = _without_aliases(signals, top)[:_MAX_SIGNALS]
    if not signals:
        raise LabctlError("there are no signals in it", thing=str(path))
    own = [one for one in signals if one.scope == top]
    clocks = [one for one in own if _CLOCK.search(one.short) and one.bits == 1]
    start = _start(waves, clocks)
    traces = waves.traces(signals, start)
    resets = [one for one in own if _RESET.search(one.short) and one.bits == 1]
    named = set(_NAMED.findall(message))
    order = {name: index for index, name in enumerate(ports)}
    outer = sorted((one for one in own if one.short in order), key=lambda one: order[one.short])
    groups = [
        ("clock and reset", [*clocks, *resets]),
        ("named by the test", [one for one in signals if one.name in named]),
        ("inputs", [one for one in outer if ports[one.short] == "input"]),
        ("outputs", [one for one in outer if ports[one.short] != "input"]),
        ("changed near the end", _near(signals, traces, start, waves.end)),
    ]
    shown: set[str] = set()
    found = []
    for title, some in groups:
        new = tuple(one for one in dict.fromkeys(some) if one.name not in shown)
        shown |= {one.name for one in new}
        if new:
            found.append(Group(title, new))
    if not found:
        found = [Group("signals", tuple(signals[:_MAX_NEAR]))]
        shown = {one.name for one in signals}
    kept = {name: trace for name, trace in traces.items() if name in shown}
    return Chosen(tuple(found), kept, start, waves.end, waves.unit_s)


def _without_aliases(signals: Sequence[Signal], top: str) -> list[Signal]:
    """Return the signals, each net once, under the name that is nearest to the top."""
    first: dict[int, Signal] = {}
    for one in sorted(signals, key=lambda one: (one.scope != top, one.name.count("."))):
        first.setdefault(one.handle, one)
    return [one for one in signals if first[one.handle] is one]


def _start(waves: FstFile, clocks: Sequence[Signal]) -> int:
    """Return the time at which the last cycles begin: of the slowest clock, or a part of all."""
    starts = []
    for clock in clocks:
        trace = waves.traces([clock])[clock.name]
        rises = [
            time for time, value in zip(trace.times, trace.values, strict=True) if value == "1"
        ]
        if len(rises) > 1:
            starts.append(rises[-min(CYCLES, len(rises))])
    if starts:
        return max(waves.start, min(starts))
    return max(waves.start, waves.end - (waves.end - waves.start) // 10)


def _near(
    signals: Sequence[Signal], traces: Mapping[str, Trace], start: int, end: int
) -> list[Signal]:
    """Return what changed in the last cycles, what seldom changes first."""
    late = end - (end - start) * _LAST_CYCLES // CYCLES
    found: list[tuple[int, int, int, Signal]] = []
    for one in signals:
        times = traces[one.name].times
        if times and times[-1] >= late and not _CLOCK.search(one.short):
            found.append((len(times), -times[-1], len(found), one))
    return [one for *_, one in sorted(found, key=lambda entry: entry[:3])[:_MAX_NEAR]]
