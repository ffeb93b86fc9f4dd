"""``labctl fpga netlist``: the same tests on what synthesis made of the core."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from labctl.cli.common import json_option
from labctl.cli.fpga_common import (
    PROJECT,
    colour_of,
    cpus,
    files_are_told,
    open_project,
    project_words,
)
from labctl.errors import ExitCode, LabctlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from labctl.fpga.model import Core, Variant
    from labctl.fpga.regression import Outcome
    from labctl.fpga.selection import Unit
    from labctl.fpga.synth.programs import Program

Made = dict[tuple[str, str], "tuple[Core, Variant] | LabctlError"]


@click.command(
    epilog="""\b
Examples:
  labctl fpga netlist
  labctl fpga netlist uart --seeds 10
  labctl fpga netlist sync_fifo --power-up zero   flip-flops begin as in the device
  labctl fpga netlist sync_fifo --cells generic

\b
yosys makes a netlist for each set of parameters; the testbench runs on that. Registers
of iCE40 begin unknown, so a reset that is forgotten is seen. A test that looks into the
design finds there only what synthesis left of it.
Exit codes: 0 all passed, 1 something failed, 2 bad usage, nothing to run, or a project
with mistakes."""
)
@click.argument("select", nargs=-1)
@PROJECT
@click.option(
    "--seeds", type=click.IntRange(1, 1_000_000), default=1, metavar="N", show_default=True,
    help="How many seeds each test that draws at random runs with.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), metavar="S",
    help="The first seed; another one each time if not given.",
)  # fmt: skip
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 1024), metavar="N",
    help="Simulations at a time; the number of processors if not given.",
)  # fmt: skip
@click.option(
    "--cells", type=click.Choice(["ice40", "generic"]),
    help="Cells of the netlist; those of the core's target if not given.",
)  # fmt: skip
@click.option(
    "--power-up", type=click.Choice(["x", "zero"]), default="x", show_default=True,
    help="What registers of iCE40 are at first.",
)  # fmt: skip
@json_option
def netlist(
    select: tuple[str, ...], folder: str, seeds: int, seed: int | None, jobs: int | None,
    cells: str | None, power_up: str, as_json: bool,
) -> int:  # fmt: skip
    """Run tests on the netlist that synthesis makes of each core."""
    from labctl.fpga.engines import engine_named
    from labctl.fpga.record import job_data
    from labctl.fpga.regression import Options, run
    from labctl.fpga.selection import Unit, jobs_of, new_base_seed
    from labctl.fpga.selection import select as choose
    from labctl.fpga.store import new_run
    from labctl.fpga.synth import programs
    from labctl.fpga.synth.families import YOSYS
    from labctl.fpga.toolchain import find_toolchain
    from labctl.report.jsondoc import document

    project = open_project(folder)
    units = choose(project, select)
    tools, yosys = find_toolchain(), programs.find(YOSYS)
    base = new_base_seed() if seed is None else seed
    count = jobs or cpus()
    with files_are_told(), new_run() as place:
        made = _synthesise(units, yosys, cells, power_up, count)
        gates = [
            Unit(*there, unit.test)
            for unit in units
            if not isinstance(there := made[unit.core.name, unit.variant.name], LabctlError)
        ]
        wanted = jobs_of(gates, base, seeds)
        outcome = run(wanted, tools, place, Options(count, "fail", engine=engine_named("fork")))
    errors = {name: error for name, error in made.items() if isinstance(error, LabctlError)}
    again = _again(folder, cells, power_up)
    counts = outcome.counts
    if as_json:
        data = {
            "summary": {
                **counts, "not_synthesised": len(errors), "seconds": round(outcome.seconds, 3)
            },
            "seed": base,
            "seeds": seeds,
            "cells": cells,
            "power_up": power_up,
            "folder": str(place),
            "not_synthesised": [
                {"core": core, "variant": variant, "message": str(error)}
                for (core, variant), error in errors.items()
            ],
            "failures": [[one.job.name for one in some] for some in outcome.failures],
            "jobs": [job_data(one, again) for one in outcome.results],
            "problems": [
                {"file": str(one.path), "message": one.message} for one in project.problems
            ],
        }  # fmt: skip
        click.echo(document("fpga-netlist", 1, data))
    else:
        _print(outcome, errors, base, again)
    if errors or counts["failed"] + counts["error"] + counts["hung"]:
        return int(ExitCode.NOT_FINE)
    return int(ExitCode.USAGE if project.problems else ExitCode.OK)


def _synthesise(
    units: list[Unit], yosys: Program, cells: str | None, power_up: str, jobs: int
) -> Made:
    """Return a core of gates for each core and set of parameters, or why there is none."""
    from concurrent.futures import ThreadPoolExecutor

    from labctl.fpga.synth.gates import cells_of, gates

    designs = {(unit.core.name, unit.variant.name): unit for unit in units}

    def one(unit: Unit) -> tuple[Core, Variant] | LabctlError:
        kind = cells or cells_of(unit.core)
        try:
            return gates(unit.core, unit.variant, yosys, cells=kind, power_up=power_up)
        except LabctlError as error:
            return error

    with ThreadPoolExecutor(jobs) as pool:
        return dict(zip(designs, pool.map(one, designs.values()), strict=True))


def _again(folder: str, cells: str | None, power_up: str) -> Callable[[str], str]:
    """Return what makes, of the name of a run, the command that runs it again."""
    options = project_words(folder)
    options += ["--cells", cells] if cells else []
    options += ["--power-up", power_up] if power_up != "x" else []

    def command(name: str) -> str:
        label, _, seed = name.rpartition("@")
        return shlex.join(["labctl", "fpga", "netlist", *options, label, "--seed", seed])

    return command


def _print(
    outcome: Outcome, errors: dict[tuple[str, str], LabctlError], base: int,
    again: Callable[[str], str],
) -> None:  # fmt: skip
    from labctl.report.sanitize import clean
    from labctl.report.terminal import Terminal

    terminal = Terminal()
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for one in outcome.results:
        unit = one.job.unit
        row = rows.setdefault((unit.core.name, unit.variant.name), {"fine": 0, "bad": 0, "s": 0.0})
        row["fine" if one.fine else "bad"] += 1
        row["s"] += one.seconds
    terminal.table(
        ("CORE", "PARAMETERS", "PASSED", "NOT FINE", "SECONDS"),
        [
            (core, variant or "-", row["fine"], row["bad"], f"{row['s']:.1f}")
            for (core, variant), row in rows.items()
        ],
    )
    for some in outcome.failures[:10]:
        first = some[0]
        more = f" (and {len(some) - 1} more of this kind)" if len(some) > 1 else ""
        status = terminal.paint(first.status.upper(), colour_of(first.status))
        terminal.line(f"\n{status} {first.job.name}{more}")
        terminal.line(f"  {clean(first.message)}")
        terminal.line(f"  {again(first.job.name)}")
        if first.waves:
            terminal.line(f"  waves: {first.waves}")
    for error in errors.values():
        terminal.line(clean(str(error)))
    said = ", ".join(f"{count} {status}" for status, count in outcome.counts.items() if count)
    terminal.line(f"\n{said or 'nothing ran'} in {outcome.seconds:.1f} s, seed {base}")
