"""``labctl fpga mutate``: which single faults of a core does its testbench not notice?"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labctl.cli.common import json_option
from labctl.cli.fpga_common import PROJECT, cpus, files_are_told, open_project
from labctl.errors import ExitCode, LabctlError

if TYPE_CHECKING:
    from labctl.fpga.model import TestCase
    from labctl.fpga.mutate.score import Fate, Score
    from labctl.fpga.selection import Unit

_SHOWN = 20


@click.command(
    epilog="""\b
Examples:
  labctl fpga mutate sync_fifo
  labctl fpga mutate uart --count 500 --jobs 4
  labctl fpga mutate 'crc:crc8_smbus' --seed 7 --least 90

\b
yosys makes mutants of a core: one bit of one port of one cell is inverted or stuck.
All of them are in one build, so one simulator start runs them all. A mutant that no
test notices is shown with its place: a test is missing, or the change makes no
difference (which is not proved here). Of each core one set of parameters is taken, the
first that SELECT names.
Exit codes: 0 done, 1 fewer were noticed than --least says, or a core does not pass
itself, 2 bad usage, a project with mistakes, or a program that is not installed."""
)
@click.argument("select", nargs=-1)
@PROJECT
@click.option(
    "--count", type=click.IntRange(1, 100_000), default=100, metavar="N", show_default=True,
    help="How many mutants of each core.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=1, metavar="S", show_default=True,
    help="Which mutants, and the seed of the tests.",
)  # fmt: skip
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 1024), metavar="N",
    help="Simulations at a time; the number of processors if not given.",
)  # fmt: skip
@click.option(
    "--least", type=click.FloatRange(0, 100), metavar="PERCENT",
    help="Fail if fewer are noticed.",
)  # fmt: skip
@json_option
def mutate(
    select: tuple[str, ...], folder: str, count: int, seed: int, jobs: int | None,
    least: float | None, as_json: bool,
) -> int:  # fmt: skip
    """Tell which single faults of a core its testbench does not notice."""
    from labctl.fpga.mutate.score import score
    from labctl.fpga.selection import select as choose
    from labctl.fpga.store import new_run
    from labctl.fpga.synth import programs
    from labctl.fpga.synth.families import YOSYS
    from labctl.fpga.toolchain import find_toolchain
    from labctl.report.jsondoc import document

    project = open_project(folder)
    chosen = _first_variants(choose(project, select))
    tools, yosys = find_toolchain(), programs.find(YOSYS)
    scores: list[Score] = []
    errors: list[LabctlError] = []
    with files_are_told(), new_run() as place:
        for unit, tests in chosen:
            told = _Progress(unit.core.name, quiet=as_json)
            try:
                scores.append(
                    score(
                        unit.core, unit.variant, tests, yosys=yosys, tools=tools, folder=place,
                        count=count, seed=seed, jobs=jobs or cpus(), tell=told.tell,
                    )
                )  # fmt: skip
            except LabctlError as error:
                errors.append(error)
            finally:
                told.done()
        data = {
            "count": count,
            "seed": seed,
            "yosys": yosys.version,
            "cores": [_data(one) for one in scores],
            "errors": [str(one) for one in errors],
            "file": str(place / "mutants.json"),
            "problems": [
                {"file": str(one.path), "message": one.message} for one in project.problems
            ],
        }
        text = document("fpga-mutate", 1, data)
        (place / "mutants.json").write_text(text + "\n")
    if as_json:
        click.echo(text)
    else:
        _print(scores, errors, place / "mutants.json")
    low = least is not None and any((one.percent or 0.0) < least for one in scores)
    if errors or low:
        return int(ExitCode.NOT_FINE)
    return int(ExitCode.USAGE if project.problems else ExitCode.OK)


def _first_variants(units: list[Unit]) -> list[tuple[Unit, list[TestCase]]]:
    """Return for each core its first unit, and the tests that have the same parameters."""
    firsts: dict[str, Unit] = {}
    for unit in units:
        firsts.setdefault(unit.core.name, unit)
    return [
        (
            first,
            [
                one.test for one in units
                if (one.core.name, one.variant.name) == (first.core.name, first.variant.name)
            ],
        )
        for first in firsts.values()
    ]  # fmt: skip


def _data(one: Score) -> dict[str, Any]:
    from labctl.fpga.mutate.score import BROKEN, HUNG, NOTICED, SURVIVED

    return {
        "core": one.core.name,
        "variant": one.variant.name,
        "parameters": dict(one.variant.parameters),
        "mutants": len(one.fates),
        **{name: one.count(name) for name in (NOTICED, HUNG, SURVIVED, BROKEN)},
        "percent": None if one.percent is None else round(one.percent, 1),
        "runs": one.runs,
        "seconds": round(one.seconds, 3),
        "tests": [{"test": test, "noticed": number} for test, number in one.tests],
        "fates": [_fate(one, fate) for fate in one.fates],
    }


def _fate(one: Score, fate: Fate) -> dict[str, Any]:
    mutant = fate.mutant
    name, line = mutant.place
    path = os.path.normpath(one.core.path.parent.absolute() / name) if name else None
    return {
        "number": mutant.number,
        "status": fate.status,
        "test": fate.test,
        "message": fate.message,
        "what": mutant.describe(),
        "file": path,
        "line": line or None,
        "mode": mutant.mode,
        "module": mutant.module,
        "cell": mutant.cell,
        "port": mutant.port,
        "bit": mutant.bit,
        "wire": mutant.wire,
    }


class _Progress:
    """One line that is written over on a terminal; nothing elsewhere."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        self._name = name
        self._shown = not quiet and sys.stderr.isatty()

    def tell(self, done: int, total: int) -> None:
        if self._shown:
            sys.stderr.write(f"\r{self._name}: {done} of {total} runs ")
            sys.stderr.flush()

    def done(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")


def _print(scores: list[Score], errors: list[LabctlError], saved: Path) -> None:
    from labctl.fpga.mutate.build import lines_of
    from labctl.fpga.mutate.score import BROKEN, HUNG, NOTICED, SURVIVED
    from labctl.inventory.diagnostics import shown_path
    from labctl.report.sanitize import clean, clean_line
    from labctl.report.terminal import Terminal

    terminal = Terminal()
    if scores:
        terminal.table(
            ("CORE", "PARAMETERS", "MUTANTS", "NOTICED", "HUNG", "BROKEN", "SURVIVED", "SCORE",
             "RUNS", "SECONDS"),
            [
                (
                    one.core.name, one.variant.name or "-", len(one.fates),
                    *(one.count(status) for status in (NOTICED, HUNG, BROKEN, SURVIVED)),
                    "-" if one.percent is None else f"{one.percent:.0f} %", one.runs,
                    f"{one.seconds:.1f}",
                )
                for one in scores
            ],
        )  # fmt: skip
    for one in scores:
        alive = [fate.mutant for fate in one.fates if fate.status == SURVIVED]
        alive.sort(key=lambda mutant: mutant.place)
        if alive:
            terminal.line(f"\n{one.core.name}: not noticed")
        for mutant in alive[:_SHOWN]:
            name, line = mutant.place
            path = Path(os.path.normpath(one.core.path.parent.absolute() / name))
            text = lines_of(path)[line - 1 : line] if name else []
            where = f"{shown_path(path)}:{line}" if name else mutant.module
            terminal.line(f"  {clean(where)}: {clean_line(mutant.describe())}")
            for shown in text:
                terminal.line(f"      {clean_line(shown.strip())}")
        if len(alive) > _SHOWN:
            terminal.line(f"  {len(alive) - _SHOWN} more in {saved}")
    for error in errors:
        terminal.line(clean(str(error)))
    terminal.line(f"\nall mutants: {saved}")
