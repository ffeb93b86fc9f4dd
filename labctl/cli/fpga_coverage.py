"""``labctl fpga coverage``: what runs have reached, of several calls and machines together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from labctl.cli.common import json_option
from labctl.cli.fpga_common import files_are_told
from labctl.errors import ExitCode

if TYPE_CHECKING:
    from labctl.fpga.coverage.model import CoverageData
    from labctl.report.terminal import Terminal

# Points that were not reached, of each scope, and runs that are needed: more are in --json.
_SHOWN_MISSING, _SHOWN_RUNS = 6, 8


@click.command(
    epilog="""\b
Examples:
  labctl fpga test --seeds 50 --coverage --coverage-file a.json
  labctl fpga coverage a.json               what it reached, and what not
  labctl fpga coverage a.json b.json -o all.json
                                            of two machines together

\b
The order of the files makes no difference, and a run that is in several counts
once. Exit codes: 0 fine, 2 a file cannot be read or is something else."""
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="Write the sum to FILE.")
@json_option
def coverage(files: tuple[Path, ...], output: str | None, as_json: bool) -> int:
    """Show the coverage in FILES together: bins, bits that toggled, lines and branches."""
    from labctl.fpga.coverage.store import load, save, shown
    from labctl.report.jsondoc import document
    from labctl.report.terminal import Terminal

    data = load(files)
    if output:
        with files_are_told():
            save(Path(output), data)
    if as_json:
        click.echo(document("fpga-coverage-report", 1, {"file": output, **shown(data)}))
    else:
        print_coverage(Terminal(), data)
    return int(ExitCode.OK)


def print_coverage(terminal: Terminal, data: CoverageData) -> None:
    """Print what was reached, what was not, and which runs were needed for it."""
    from labctl.fpga.coverage.store import shown
    from labctl.report.sanitize import clean_line

    told = shown(data)
    rows = [
        (one["kind"], clean_line(one["scope"]), one["covered"], one["total"],
         f"{100 * one['covered'] / max(1, one['total']):.1f}", _missing(one["missing"]))
        for one in told["scopes"]
    ]  # fmt: skip
    terminal.table(("COVERAGE", "OF", "REACHED", "POINTS", "%", "NOT REACHED"), rows)
    needed, idle = told["needed"], told["idle"]
    if not needed:
        terminal.line("\nno run counted anything: tests declare bins by labctl.fpga.tb.Coverage")
        return
    terminal.line(f"\n{len(needed)} of {len(needed) + len(idle)} runs reach all of it:")
    for one in needed[:_SHOWN_RUNS]:
        terminal.line(f"  {clean_line(one['run'])} adds {one['adds']}")
    if len(needed) > _SHOWN_RUNS:
        terminal.line(f"  and {len(needed) - _SHOWN_RUNS} more")


def _missing(points: list[str]) -> str:
    from labctl.report.sanitize import clean_line

    some = ", ".join(clean_line(point) for point in points[:_SHOWN_MISSING])
    more = len(points) - _SHOWN_MISSING
    return f"{some} and {more} more" if more > 0 else some or "-"
