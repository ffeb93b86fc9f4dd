"""Netlists: what yosys makes of a design for a family of FPGAs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from labctl.errors import LabctlError
from labctl.fpga.model import Core, Target, Value, Variant
from labctl.fpga.synth import design, script
from labctl.fpga.synth.families import Family
from labctl.fpga.synth.harness import TOP, clocks_of, harness
from labctl.fpga.synth.programs import Program, near, run
from labctl.fpga.synth.store import kept

_DEADLINE_S = 900.0
_FILE = "netlist.json"


class SynthesisError(LabctlError):
    """A design cannot be synthesised, or does not fit."""


@dataclass(frozen=True)
class Netlist:
    """A netlist of cells of a family.

    Attributes:
        path: The file, in yosys' JSON format.
        top: Its top module.
        fresh: It was made now, and not found.
    """

    path: Path
    top: str
    fresh: bool

    @cached_property
    def _module(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path.read_bytes())["modules"][self.top]
        return found

    @property
    def ports(self) -> Mapping[str, Any]:
        """Ports of the top, each with its ``direction`` and its ``bits``."""
        found: Mapping[str, Any] = self._module["ports"]
        return found

    @property
    def cells(self) -> Sequence[str]:
        """The type of each cell."""
        return [cell["type"] for cell in self._module["cells"].values()]

    @property
    def digest(self) -> str:
        """A digest of all that it depends on; its text has names of temporary files in it."""
        return self.path.parent.name


def synthesise(
    core: Core, parameters: Mapping[str, Value], target: Target, family: Family, yosys: Program
) -> Netlist:
    """Return the netlist of ``core`` alone.

    Raises:
        SynthesisError: It cannot be synthesised.
    """
    one = design.of(core, Variant(parameters=parameters))
    return _netlist(one, core.top, "", _command(family, target), yosys)


def synthesise_between_registers(
    core: Core, alone: Netlist, parameters: Mapping[str, Value], target: Target, family: Family,
    yosys: Program,
) -> Netlist:  # fmt: skip
    """Return the netlist of ``core`` between registers; see `labctl.fpga.synth.harness`.

    Raises:
        SynthesisError: It cannot be synthesised.
    """
    clocks = clocks_of(alone.ports, [clock.signal for clock in core.clocks])
    if not clocks:
        raise SynthesisError(
            "it has no clock that could be measured", thing=core.name,
            action=f"name it in {core.path.name}: 'clock: {{signal: …, mhz: …}}'",
        )  # fmt: skip
    one = design.of(core, Variant(parameters=parameters))
    around = harness(core.top, alone.ports, clocks)
    return _netlist(one, TOP, around, _command(family, target), yosys)


def _command(family: Family, target: Target) -> str:
    return " ".join(filter(None, [family.synth, family.dsp if target.dsp else family.no_dsp]))


def _netlist(one: design.Design, top: str, around: str, command: str, yosys: Program) -> Netlist:
    def make(folder: Path) -> None:
        lines = script.reading(one)
        if around:
            (folder / "harness.v").write_text(around)
            lines.append(f"read_verilog {script.quoted(near(folder / 'harness.v', one.folder))}")
        lines.append(f"{command} -top {top}")
        lines.append(f"write_json {script.quoted(near(folder / _FILE, one.folder))}")
        arguments = ["-q", "-p", "\n".join(lines)]
        said, why = run(yosys, arguments, cwd=one.folder, deadline_s=_DEADLINE_S)
        if why:
            raise SynthesisError(
                f"not synthesised: {why}", thing=one.name, action="see 'labctl fpga lint'"
            )
        (folder / "yosys.txt").write_text(said)

    facts = [design.digest(one), top, around, command, yosys.version]
    folder, fresh = kept("netlists", facts, make)
    return Netlist(folder / _FILE, top, fresh)
