"""Place and route: one try for each seed, and what clock each reaches.

Source: nextpnr's ``--report`` (``common/report.cc``): ``fmax`` by net, each with ``achieved`` and
``constraint`` in MHz; ``utilization``; ``critical_paths``. Its log is never read for these.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.fpga.model import Clock, Target
from labctl.fpga.synth.families import Family
from labctl.fpga.synth.netlist import Netlist, SynthesisError
from labctl.fpga.synth.programs import Program, near, run
from labctl.fpga.synth.store import kept

_DEADLINE_S = 1800.0
_REPORT = "report.json"
# What nextpnr makes of the name of a clock: buffers of iCE40, global nets of ECP5.
_CLOCK_NET = re.compile(r"^(?:\$glbnet\$)?(?P<name>[^$]+)")


@dataclass(frozen=True)
class ClockResult:
    """A clock, what it must reach and what it reaches.

    Attributes:
        signal: Its port.
        wanted: MHz, or None where nothing is said.
        reached: MHz, or None where no path is timed by it.
    """

    signal: str
    wanted: float | None
    reached: float | None

    @property
    def passed(self) -> bool:
        """It is as fast as it must be."""
        return self.wanted is None or self.reached is None or self.reached >= self.wanted


@dataclass(frozen=True)
class Place:
    """One try.

    Attributes:
        seed: Seed of the placer.
        clocks: What the clocks reach.
        used: Part of the device that is used, by kind of block: used and available.
        worst: The slowest path of the slowest clock, in a few words.
        layout: The file that a bitstream is made of.
        fresh: It was made now, and not found.
    """

    seed: int
    clocks: tuple[ClockResult, ...]
    used: Mapping[str, tuple[int, int]]
    worst: str
    layout: Path
    fresh: bool

    @property
    def passed(self) -> bool:
        """All clocks are as fast as they must be."""
        return all(clock.passed for clock in self.clocks)

    @property
    def margin(self) -> float:
        """How good it is: the worst ratio of what is reached to what is wanted (or to 1 MHz)."""
        ratios = [one.reached / (one.wanted or 1.0) for one in self.clocks if one.reached]
        wanted = [one.reached / one.wanted for one in self.clocks if one.reached and one.wanted]
        return min(wanted or ratios, default=0.0)


def place(
    name: str, netlist: Netlist, target: Target, family: Family, clocks: tuple[Clock, ...],
    program: Program, seed: int,
) -> Place:  # fmt: skip
    """Place and route ``netlist``.

    Args:
        name: Of the core, for messages.
        netlist: What is placed.
        target: Where.
        family: Its family.
        clocks: What the clocks of the netlist must reach.
        program: The family's place-and-route program.
        seed: Seed of the placer.

    Raises:
        SynthesisError: It does not fit, or there is no such device.
    """
    pins = target.constraints.read_text(encoding="utf-8") if target.constraints else ""
    rules = [family.rule(clock.signal, clock.mhz) for clock in clocks]
    text = "\n".join([pins.rstrip("\n"), *rules, ""]).lstrip("\n")
    options = [*family.chip(target), "--timing-allow-fail", "--seed", str(seed)]
    # The pins of a design are all in its file; one that is forgotten must not be anywhere.
    options += [] if target.constraints else [family.free]

    def make(folder: Path) -> None:
        (folder / "pins").write_text(text)
        arguments = [
            "-q", *options, "--json", near(netlist.path, folder), family.pins, "pins",
            family.layout[0], f"layout{family.layout[1]}", "--report", _REPORT,
        ]  # fmt: skip
        said, why = run(program, arguments, cwd=folder, deadline_s=_DEADLINE_S)
        if why:
            raise SynthesisError(
                f"not placed on {target.device} in {target.package}: {why.removeprefix('ERROR: ')}",
                thing=name, action="see its 'target' and its parameters",
            )  # fmt: skip
        (folder / "nextpnr.txt").write_text(said)

    facts = [netlist.digest, text, options, program.version]
    folder, fresh = kept("places", facts, make)
    report = json.loads((folder / _REPORT).read_bytes())
    return Place(
        seed, read_clocks(report, clocks),
        {kind: (one["used"], one["available"]) for kind, one in report["utilization"].items()},
        worst_path(report), folder / f"layout{family.layout[1]}", fresh,
    )  # fmt: skip


def read_clocks(report: Mapping[str, Any], wanted: tuple[Clock, ...]) -> tuple[ClockResult, ...]:
    """Return the clocks in ``wanted``, then the others that ``report`` has."""
    reached: dict[str, float] = {}
    for net, one in report.get("fmax", {}).items():
        found = _CLOCK_NET.match(net)
        name = found["name"] if found else net
        reached[name] = min(reached.get(name, one["achieved"]), one["achieved"])
    limits = {clock.signal: clock.mhz for clock in wanted}
    return tuple(
        ClockResult(name, limits.get(name), reached.get(name))
        for name in dict.fromkeys((*limits, *reached))
    )


def worst_path(report: Mapping[str, Any]) -> str:
    """Return the longest path within a clock: from where to where, and its time; may be empty."""
    best: tuple[float, str] = (0.0, "")
    for path in report.get("critical_paths", []):
        begins, ends = str(path.get("from", "")), str(path.get("to", ""))
        steps = path.get("path", [])
        # "<async>" is a port: between clocks, or outside.
        if begins != ends or not steps or "async" in begins:
            continue
        took = sum(step["delay"] for step in steps)
        first, last = steps[0]["from"]["cell"], steps[-1]["to"]["cell"]
        logic = sum(step.get("type") == "logic" for step in steps)
        best = max(best, (took, f"{took:.1f} ns, {logic} cells: {_short(first)} to {_short(last)}"))
    return best[1]


def _short(cell: str) -> str:
    """Return the name that a person gave, without what the tools added."""
    return re.sub(r"(?:_SB_|_TRELLIS|\$|_LC$).*", "", cell) or cell
