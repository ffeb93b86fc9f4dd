"""Area and clock of cores: one netlist for each, several tries to place it, the best one kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from labctl.errors import LabctlError
from labctl.fpga.model import Clock, Core, Target, Value
from labctl.fpga.synth import programs
from labctl.fpga.synth.families import FAMILIES, YOSYS, Family, area_of
from labctl.fpga.synth.harness import CLOCK
from labctl.fpga.synth.netlist import (
    Netlist,
    SynthesisError,
    synthesise,
    synthesise_between_registers,
)
from labctl.fpga.synth.place import Place, place
from labctl.fpga.synth.programs import Program


@dataclass(frozen=True)
class Wanted:
    """What is to be measured: a core with parameters, on its target.

    Attributes:
        core: The core; it has a target.
        name: Its name, with that of the parameters where they are not those of the target.
        parameters: Parameters of the top.
    """

    core: Core
    name: str
    parameters: Mapping[str, Value]

    @property
    def target(self) -> Target:
        """The FPGA."""
        assert self.core.target is not None
        return self.core.target

    @property
    def family(self) -> Family:
        """Its family."""
        return FAMILIES[self.target.family]


@dataclass(frozen=True)
class Timing:
    """What came of it.

    Attributes:
        wanted: What was measured.
        area: Cells of the core alone, by kind.
        places: One for each seed.
        tools: Names and versions of the programs.
        error: Why there is none, or None.
    """

    wanted: Wanted
    area: Mapping[str, int]
    places: tuple[Place, ...]
    tools: Mapping[str, str]
    error: LabctlError | None = None

    @property
    def best(self) -> Place:
        """The place that is kept: the one with the largest margin."""
        return max(self.places, key=lambda one: one.margin)

    @property
    def constrained(self) -> bool:
        """Something is said of a clock."""
        return any(clock.wanted for one in self.places for clock in one.clocks)

    @property
    def status(self) -> str:
        """``passed``, ``failed``, ``measured`` (nothing is said of a clock) or ``error``."""
        if self.error is not None or not self.places:
            return "error"
        if not self.constrained:
            return "measured"
        return "passed" if self.best.passed else "failed"


@dataclass(frozen=True)
class Tools:
    """The programs of the families that are needed."""

    yosys: Program
    place: Mapping[str, Program]

    def versions(self, family: Family) -> dict[str, str]:
        """Return what the programs of ``family`` say of themselves."""
        return {"yosys": self.yosys.version, family.place.name: self.place[family.name].version}


def find_tools(families: Sequence[Family]) -> Tools:
    """Return the programs for ``families``.

    Raises:
        DependencyError: One is not installed.
    """
    yosys = programs.find(YOSYS)
    return Tools(yosys, {one.name: programs.find(one.place) for one in dict.fromkeys(families)})


def measure(
    wanted: Sequence[Wanted], seeds: Sequence[int], jobs: int, tools: Tools
) -> list[Timing]:
    """Return area and clock of each of ``wanted``.

    Args:
        wanted: What to measure.
        seeds: Seeds of the placer.
        jobs: How many programs may run at a time.
        tools: The programs.
    """
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        netlists = list(pool.map(lambda one: _netlists(one, tools), wanted))
        tries = [
            [] if isinstance(made, LabctlError)
            else [pool.submit(_try, one, made[1], tools, seed) for seed in seeds]
            for one, made in zip(wanted, netlists, strict=True)
        ]  # fmt: skip
        found = []
        for one, made, some in zip(wanted, netlists, tries, strict=True):
            versions = tools.versions(one.family)
            if isinstance(made, LabctlError):
                found.append(Timing(one, {}, (), versions, made))
                continue
            area = area_of(one.family, made[0].cells)
            ended = [task.result() for task in some]
            places = tuple(task for task in ended if isinstance(task, Place))
            error = next((task for task in ended if isinstance(task, LabctlError)), None)
            # A seed that finds no way is no reason against the others.
            found.append(Timing(one, area, places, versions, None if places else error))
    return found


def _netlists(one: Wanted, tools: Tools) -> tuple[Netlist, Netlist] | LabctlError:
    """Return the netlist of the core alone, and the one that is placed."""
    try:
        alone = synthesise(one.core, one.parameters, one.target, one.family, tools.yosys)
        missing = [clock.signal for clock in one.core.clocks if clock.signal not in alone.ports]
        if missing:
            raise SynthesisError(
                f"its top has no port '{missing[0]}'", thing=one.name,
                action=f"correct 'clock' in {one.core.path.name}",
            )  # fmt: skip
        if one.target.constraints is not None:
            return alone, alone
        placed = synthesise_between_registers(
            one.core, alone, one.parameters, one.target, one.family, tools.yosys
        )
    except LabctlError as error:
        return error
    return alone, placed


def _try(one: Wanted, netlist: Netlist, tools: Tools, seed: int) -> Place | LabctlError:
    program = tools.place[one.family.name]
    between = one.target.constraints is None
    clocks = one.core.clocks
    if between and clocks:
        # All its clocks are one there, which must be as fast as the fastest.
        clocks = (Clock(CLOCK, max(clock.mhz for clock in clocks)),)
    try:
        done = place(one.name, netlist, one.target, one.family, clocks, program, seed)
    except LabctlError as error:
        return error
    if not between:
        return done
    names = ",".join(clock.signal for clock in one.core.clocks) or CLOCK
    return replace(done, clocks=tuple(replace(clock, signal=names) for clock in done.clocks))
