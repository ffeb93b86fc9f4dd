"""``labctl fpga``: verify FPGA designs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labctl.cli.common import json_option
from labctl.cli.fpga_bridge import bridge
from labctl.cli.fpga_build import build
from labctl.cli.fpga_common import (
    PROJECT,
    SIMULATOR,
    colour_of,
    cpus,
    files_are_told,
    open_project,
    repro_command,
)
from labctl.cli.fpga_coverage import coverage, print_coverage
from labctl.cli.fpga_history import history
from labctl.cli.fpga_lint import lint
from labctl.cli.fpga_mutate import mutate
from labctl.cli.fpga_netlist import netlist
from labctl.cli.fpga_report import report
from labctl.cli.fpga_repro import repro, waves
from labctl.cli.fpga_timing import timing
from labctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from labctl.fpga.regression import Outcome
    from labctl.fpga.results import JobResult

_SHOWN_FAILURES = 10


@click.group(
    epilog="""\b
Examples:
  labctl fpga list                          cores and tests, found by reading
  labctl fpga test                          all of them, with one seed each
  labctl fpga test uart --seeds 100         one core, a hundred seeds
  labctl fpga repro 'uart:test_uart.test_echo@17'
                                            one run again, with waves

\b
Exit codes: 0 all passed, 1 something failed, 2 bad usage or a project with
mistakes."""
)
def fpga() -> None:
    """Verify FPGA designs: find their tests, run them, show what failed."""


fpga.add_command(bridge)
fpga.add_command(build)
fpga.add_command(coverage)
fpga.add_command(history)
fpga.add_command(report)
fpga.add_command(repro)
fpga.add_command(waves)
fpga.add_command(lint)
fpga.add_command(timing)
fpga.add_command(netlist)
fpga.add_command(mutate)


@fpga.command(
    "list",
    epilog="""\b
Examples:
  labctl fpga list
  labctl fpga list uart 'fifo*'
  labctl fpga list -C ~/their-project --json

\b
No simulator is started. make reads Makefiles, and pytest reads pytest files,
with stand-ins for what starts simulations. A test that ends in .* is a module
whose tests only running it can tell.
Exit codes: 0 fine, 2 no such project, or a file in it has mistakes.""",
)
@click.argument("select", nargs=-1)
@PROJECT
@json_option
def list_(select: tuple[str, ...], folder: str, as_json: bool) -> int:
    """List what there is to run: cores, sets of parameters, tests."""
    from labctl.fpga.selection import select as choose
    from labctl.report.jsondoc import document
    from labctl.report.terminal import Terminal

    project = open_project(folder)
    units = choose(project, select) if select or project.cores else []
    if as_json:
        rows = [
            {
                "id": unit.name,
                "core": unit.core.name,
                "kind": unit.core.kind,
                "description": unit.core.description,
                "variant": unit.variant.name,
                "parameters": dict(unit.variant.parameters),
                "test": unit.test.label,
                "file": str(unit.test.path),
                "line": unit.test.line,
                "parametrized": unit.test.parametrized,
            }
            for unit in units
        ]
        problems = [{"file": str(one.path), "message": one.message} for one in project.problems]
        click.echo(document("fpga-list", 1, {"tests": rows, "problems": problems}))
    else:
        table: dict[tuple[str, str], list[str]] = {}
        for unit in units:
            table.setdefault((unit.core.name, unit.test.label), []).append(unit.variant.name)
        Terminal().table(
            ("CORE", "TEST", "PARAMETERS"),
            [(core, test, "  ".join(some) or "-") for (core, test), some in table.items()],
        )
    return int(ExitCode.USAGE if project.problems else ExitCode.OK)


@fpga.command(
    epilog="""\b
Examples:
  labctl fpga test
  labctl fpga test fifo_sync 'uart:*echo*' --seeds 20
  labctl fpga test uart --seed 17           the seed of a run that failed
  labctl fpga test --waves always --keep    waves and logs of every run
  labctl fpga test --junit results.xml
  labctl fpga test --sim verilator --coverage
  labctl fpga test --seeds 1000 --engine slurm
                                            on the cluster that sbatch submits to

\b
A run is core[:parameters]:module.test@seed. What failed the last time comes
first, then what takes long. One failure of each kind has waves: of its last
moments, or, where those were not kept, of all of it, run again. Logs and waves
are kept for the last 20 calls; 'labctl fpga report --html' makes a page of one.
Exit codes: 0 all passed, 1 something failed, 2 bad usage, nothing to run, or a
project with mistakes."""
)
@click.argument("select", nargs=-1)
@PROJECT
@click.option(
    "--seeds", type=click.IntRange(1, 1_000_000), default=1, metavar="N", show_default=True,
    help="How many seeds each test runs with.",
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
    "--waves", type=click.Choice(["never", "fail", "always"]), default="fail", show_default=True,
    help="When to record waves.",
)  # fmt: skip
@click.option(
    "--last", type=click.FloatRange(0.01, 3600), default=0.5, metavar="SECONDS", show_default=True,
    help="How much before a failure its waves hold, in processor time.",
)  # fmt: skip
@click.option(
    "--engine", type=click.Choice(["fork", "process", "slurm", "dask"]), default="fork",
    show_default=True,
    help="Here, with one simulator start for many runs or one for each; or on a cluster.",
)  # fmt: skip
@click.option(
    "--address", envvar="DASK_SCHEDULER_ADDRESS", default="", metavar="HOST:PORT",
    help="Dask's scheduler; a cluster on this machine if not given.",
)  # fmt: skip
@SIMULATOR
@click.option("--coverage", is_flag=True, help="Collect what the runs reach.")
@click.option(
    "--coverage-file", type=click.Path(), metavar="FILE", help="Write it to FILE; see 'coverage'."
)
@click.option("--keep", is_flag=True, help="Keep the logs of runs that passed.")
@click.option("--junit", type=click.Path(), metavar="FILE", help="Write JUnit XML to FILE.")
@json_option
def test(
    select: tuple[str, ...], folder: str, seeds: int, seed: int | None, jobs: int | None,
    waves: str, last: float, engine: str, address: str, simulator: str | None, coverage: bool,
    coverage_file: str | None, keep: bool, junit: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Run tests: all, or those that SELECT names."""
    from labctl.fpga import history as past_runs
    from labctl.fpga import record
    from labctl.fpga.coverage import store
    from labctl.fpga.engines import engine_named
    from labctl.fpga.farms import farm_named
    from labctl.fpga.junit import write_junit
    from labctl.fpga.regression import Options, run
    from labctl.fpga.selection import jobs_of, new_base_seed
    from labctl.fpga.selection import select as choose
    from labctl.fpga.store import new_run
    from labctl.fpga.toolchain import find_toolchain
    from labctl.report.jsondoc import document

    for file in filter(None, (junit, coverage_file)):
        if not Path(file).absolute().parent.is_dir():
            # Now, and not after an hour of simulation.
            raise UsageError(
                "there is no such folder", thing=file, action="make it, or name another"
            )
    project = open_project(folder, simulator)
    units = choose(project, select)
    tools = find_toolchain(
        dict.fromkeys(unit.core.simulators[0] for unit in units),
        coverage=coverage or coverage_file is not None,
    )
    base = new_base_seed() if seed is None else seed
    wanted = jobs_of(units, base, seeds)
    farm = farm_named(engine, jobs=jobs, address=address)
    if farm is not None:
        # What waits elsewhere is taken back however we are told to end.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
    past = past_runs.Past(record.project_name(project.root))
    options = Options(
        jobs or cpus(), waves, keep, engine_named(engine), farm, last, past.expected()
    )
    repro_of = repro_command(folder, simulator)
    told = _Progress(len(wanted), quiet=as_json)
    with files_are_told(), new_run() as place, record.asked(project.root) as about:
        outcome = run(wanted, tools, place, options, told.tell)
        told.done()
        outcome = past.keep(about(), outcome)
        write_junit(place / record.JUNIT_FILE, outcome, repro_of)
        if junit:
            write_junit(Path(junit), outcome, repro_of)
        data = record.run_data(
            outcome, project, about(), repro_of, base=base, seeds=seeds, folder=place
        )
        if tools.coverage:
            for path in (place / "coverage.json", *map(Path, filter(None, [coverage_file]))):
                store.save(path, outcome.coverage)
            data["coverage"] = {
                "file": str(place / "coverage.json"), **store.shown(outcome.coverage),
            }  # fmt: skip
        record.save(place, data)
    counts = outcome.counts
    if as_json:
        click.echo(document("fpga-test", 1, data))
    else:
        _print(outcome, base, repro_of, coverage=tools.coverage)
    bad = counts["failed"] + counts["error"] + counts["hung"]
    if bad:
        return int(ExitCode.NOT_FINE)
    return int(ExitCode.USAGE if project.problems else ExitCode.OK)


class _Progress:
    """One line that is written over on a terminal; nothing elsewhere."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        self._total = total
        self._count = 0
        self._bad = 0
        self._shown = not quiet and sys.stderr.isatty()

    def tell(self, result: JobResult) -> None:
        self._count += 1
        self._bad += not result.fine
        if self._shown:
            bad = f", {self._bad} not fine" if self._bad else ""
            sys.stderr.write(f"\r{self._count} of {self._total} runs{bad} ")
            sys.stderr.flush()

    def done(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")


def _print(outcome: Outcome, base: int, repro_of: Callable[[str], str], *, coverage: bool) -> None:
    from labctl.report.sanitize import clean
    from labctl.report.terminal import Terminal

    terminal = Terminal()
    rows: dict[tuple[str, str], dict[str, int]] = {}
    seconds: dict[tuple[str, str], float] = {}
    for one in outcome.results:
        key = (one.job.unit.core.name, one.job.unit.test.label)
        row = rows.setdefault(key, {"passed": 0, "bad": 0, "skipped": 0})
        row[one.status if one.status in row else "bad"] += 1
        seconds[key] = seconds.get(key, 0.0) + one.seconds
    terminal.table(
        ("CORE", "TEST", "PASSED", "NOT FINE", "SKIPPED", "SECONDS"),
        [
            (*key, row["passed"], row["bad"], row["skipped"], f"{seconds[key]:.1f}")
            for key, row in rows.items()
        ],
    )
    for some in outcome.failures[:_SHOWN_FAILURES]:
        first = some[0]
        more = f" (and {len(some) - 1} more of this kind)" if len(some) > 1 else ""
        status = terminal.paint(first.status.upper(), colour_of(first.status))
        terminal.line(f"\n{status} {first.job.name}{more}")
        terminal.line(f"  {clean(first.message)}")
        terminal.line(f"  {repro_of(first.job.name)}")
        if first.folder:
            terminal.line(f"  log: {first.folder / 'log.txt'}")
        if first.waves:
            terminal.line(f"  waves: {first.waves}")
    rest = len(outcome.failures) - _SHOWN_FAILURES
    if rest > 0:
        terminal.line(f"\n{rest} more kinds of failures; --json and --junit have all of them")
    if coverage:
        terminal.line("")
        print_coverage(terminal, outcome.coverage)
    for note in outcome.notes:
        terminal.line(f"note: {note}")
    said = ", ".join(f"{count} {status}" for status, count in outcome.counts.items() if count)
    terminal.line(
        f"\n{said} in {outcome.seconds:.1f} s, seed {base}; "
        f"{outcome.compiled} compiled, {outcome.reused} found compiled"
    )
