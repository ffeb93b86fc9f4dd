"""All mutants of a core in one netlist, with a selector; so they share one build.

yosys adds the selector as an input of the top and of all modules on the way. Here it becomes a
register, which takes the mutant's number from a file in the run's folder at time zero, before
anything else happens. So one simulator can serve runs of all mutants: each run has a folder of its
own, and the simulator makes a copy of itself for it before time zero.

Memories stay as they are, without the registers of their ports: where these are taken in, yosys
proves of some addresses that they never meet, and then the mutants are not what they seem.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from labctl.fpga.model import Core, Variant
from labctl.fpga.mutate.mutants import Mutant, read_list
from labctl.fpga.synth import design, script
from labctl.fpga.synth.netlist import SynthesisError
from labctl.fpga.synth.programs import Program, near, run
from labctl.fpga.synth.store import kept
from labctl.fpga.synth.verilog import in_place_of, with_parameters

SELECTOR = "labctl_mutant"
FILE = "labctl_mutant"
_DEADLINE_S = 900.0
# Of a memory these are constants here, and yosys takes nothing else for them.
_CONSTANT_PORTS = {"RD_EN", "RD_CLK", "RD_ARST", "RD_SRST", "WR_CLK"}


def mutated(
    core: Core, variant: Variant, yosys: Program, *, count: int, seed: int
) -> tuple[Core, Variant, list[Mutant]]:
    """Return ``core`` with a netlist of at most ``count`` mutants, and these.

    Which ones they are depends on the sources, the parameters, ``count``, ``seed`` and yosys'
    version alone.

    Raises:
        SynthesisError: yosys cannot read it, or finds nothing to change.
    """
    one = design.of(core, variant)

    def make(folder: Path) -> None:
        # 'mutate -o' takes no quotes, and the name of the folder may have blanks.
        with tempfile.TemporaryDirectory(prefix="labctl-") as temporary:
            _make(one, folder, Path(temporary), yosys, count, seed)

    facts = [design.digest(one), yosys.version, count, seed]
    folder, _ = kept("mutants", facts, make)
    mutants = read_list((folder / "list").read_text())
    return (*in_place_of(core, variant, (folder / "net.v",)), mutants)


def _make(
    one: design.Design, folder: Path, work: Path, yosys: Program, count: int, seed: int
) -> None:
    """Fill ``folder``: ``list`` has the mutants, ``net.v`` is the netlist with all of them."""
    # No quotes: 'mutate -o' takes none.
    names = ("design.il", "design.json", "list", "net.json", "net.v")
    at = {name: near(work / name, one.folder) for name in names}
    _yosys(one, yosys, [
        *script.reading(one), f"hierarchy -check -top {one.top}", "proc", "opt", "memory_collect",
        "opt_clean", f"write_rtlil {at['design.il']}", f"write_json {at['design.json']}",
        f"mutate -list {count} -seed {seed} -o {at['list']}",
    ])  # fmt: skip
    cells = {
        name: {cell: data["connections"] for cell, data in module["cells"].items()}
        for name, module in json.loads((work / "design.json").read_bytes())["modules"].items()
    }
    lines = numbered((work / "list").read_text(), cells)
    (folder / "list").write_text("".join(f"{line}\n" for line in lines))
    if not lines:
        raise SynthesisError("there is nothing in it to change", thing=one.name)
    shutil.copyfile(folder / "list", work / "list")
    _yosys(one, yosys, [
        f"read_rtlil {at['design.il']}", f"script {at['list']}",
        f"delete -port {one.top}/w:{SELECTOR}",
        f"write_json {at['net.json']}", f"write_verilog -noattr {at['net.v']}",
    ])  # fmt: skip
    text = with_selector((work / "net.v").read_text(), one.top, width_for(len(lines)))
    (folder / "net.v").write_text(with_parameters(text, one.top, work / "net.json"))


def _yosys(one: design.Design, yosys: Program, lines: list[str]) -> None:
    arguments = ["-q", "-p", "\n".join(lines)]
    _, why = run(yosys, arguments, cwd=one.folder, deadline_s=_DEADLINE_S)
    if why:
        raise SynthesisError(f"no mutants: {why}", thing=one.name, action="see 'labctl fpga lint'")


def width_for(count: int) -> int:
    """Return how many bits a selector of ``count`` mutants has; 0 is for none of them."""
    return max(1, count.bit_length())


Cells = Mapping[str, Mapping[str, Mapping[str, Sequence[int | str]]]]


def numbered(listed: str, cells: Cells) -> list[str]:
    """Return the mutants that yosys listed, each with its number for the selector.

    Left out are those that surely change nothing: a constant that is stuck at what it is, a bit
    whose value does not matter (x).

    Args:
        listed: The lines of ``mutate -list``.
        cells: The bits at the ports of the cells of each module: a number of a net, or ``0``,
            ``1``, ``x``.
    """
    some = [
        line.removeprefix("mutate ")
        for line in listed.splitlines()
        if line.startswith("mutate ") and _changes(line, cells)
    ]
    width = width_for(len(some))
    return [f"mutate -ctrl {SELECTOR} {width} {at} {line}" for at, line in enumerate(some, 1)]


def _changes(line: str, cells: Cells) -> bool:
    (mutant,) = read_list(line.replace("mutate ", "mutate -ctrl x 1 0 ", 1))
    if mutant.port in _CONSTANT_PORTS:
        return False
    bits = cells.get(mutant.module, {}).get(mutant.cell, {}).get(mutant.port, ())
    here = bits[mutant.bit] if mutant.bit < len(bits) else ""
    control = bits[mutant.control] if mutant.control is not None else ""
    never = {("const0", "0"), ("const1", "1"), ("cnot0", "1"), ("cnot1", "0")}
    by = control if mutant.mode.startswith("cnot") else here
    return here != "x" and (mutant.mode, by) not in never


def with_selector(verilog: str, top: str, width: int) -> str:
    """Return ``verilog`` with the selector of ``top`` made a register that reads a file.

    Raises:
        SynthesisError: There is none: there was nothing to change.
    """
    range_ = f"[{width - 1}:0] " if width > 1 else ""
    begin = verilog.find(f"module {top}(")
    end = verilog.find("\nendmodule", begin)
    old = f"  wire {range_}{SELECTOR};\n"
    at = verilog.find(old, begin, end)
    if begin < 0 or at < 0:
        raise SynthesisError("there is nothing in it to change", thing=top)
    new = (
        f"  reg {range_}{SELECTOR} = 0;\n"
        f"  integer {SELECTOR}_file;\n"
        f"  initial begin\n"
        f'    {SELECTOR}_file = $fopen("{FILE}", "r");\n'
        f"    if ({SELECTOR}_file != 0) begin\n"
        f'      if ($fscanf({SELECTOR}_file, "%d", {SELECTOR}) != 1) $fatal;\n'
        f"      $fclose({SELECTOR}_file);\n"
        f"    end\n"
        f"  end\n"
    )
    return verilog[:at] + new + verilog[at + len(old) :]


def select(folder: Path, number: int) -> None:
    """Make the run in ``folder`` one of the mutant ``number``; 0 is the core itself."""
    (folder / FILE).write_text(f"{number}\n")


def lines_of(path: Path) -> list[str]:
    """Return the lines of a source, to show; empty where it cannot be read."""
    try:
        return re.split(r"\r?\n", path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return []
