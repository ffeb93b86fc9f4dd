"""``labctl fpga timing``: area and clock of cores on their FPGA, and bitstreams."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labctl.cli.common import json_option
from labctl.cli.fpga_common import PROJECT, cpus, files_are_told, open_project
from labctl.errors import ExitCode, LabctlError, UsageError

if TYPE_CHECKING:
    from labctl.fpga.model import Project
    from labctl.fpga.synth.bitstream import Bitstream
    from labctl.fpga.synth.place import ClockResult
    from labctl.fpga.synth.timing import Timing, Wanted

_COLOURS = {"passed": "", "failed": "red", "error": "red", "measured": ""}


@click.command(
    epilog="""\b
Examples:
  labctl fpga timing
  labctl fpga timing uart --seeds 8 --jobs 4
  labctl fpga timing 'crc:*'                every set of parameters of one core
  labctl fpga timing blink --bitstream out  out/blink.bin and out/blink.bin.json
  labctl fpga timing --readme               do the README files say these figures?

\b
yosys makes a netlist, nextpnr places it once for each seed, and the best place is
kept. A clock must reach what 'clock' in core.yaml says. A core without a file of
pins is measured between registers, with the parameters that its 'target' names.
Exit codes: 0 all fast enough, 1 one is not, or does not fit, 2 bad usage, a project
with mistakes, or a program that is not installed."""
)
@click.argument("select", nargs=-1)
@PROJECT
@click.option(
    "--seeds", type=click.IntRange(1, 1000), default=3, metavar="N", show_default=True,
    help="How many places to try.",
)  # fmt: skip
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 1024), metavar="N",
    help="Programs at a time; the number of processors if not given.",
)  # fmt: skip
@click.option(
    "--bitstream", "out", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
    help="Write bitstreams there, each with a record of its timing.",
)  # fmt: skip
@click.option("--readme", is_flag=True, help="Check the figures in the cores' README files.")
@json_option
def timing(
    select: tuple[str, ...], folder: str, seeds: int, jobs: int | None, out: Path | None,
    readme: bool, as_json: bool,
) -> int:  # fmt: skip
    """Measure area and clock of cores on their FPGA; make bitstreams."""
    from labctl.fpga.synth.figures import figures, stands_in
    from labctl.fpga.synth.timing import find_tools, measure
    from labctl.report.jsondoc import document

    began = time.monotonic()
    project = open_project(folder)
    wanted = _wanted(project, select, only_designs=out is not None)
    tools = find_tools([one.family for one in wanted])
    written: dict[str, Bitstream] = {}
    wrong: list[str] = []
    with files_are_told():
        found = measure(wanted, range(1, seeds + 1), jobs or cpus(), tools)
        if out is not None:
            written = _write(found, out)
    for one in found if readme else ():
        place = one.wanted.core.path.with_name("README.md")
        if one.places and not stands_in(one, place):
            wrong.append(f"{place}: it does not say: {figures(one)}")
    if as_json:
        data = {
            "summary": {
                **{
                    status: sum(one.status == status for one in found)
                    for status in ("passed", "failed", "measured", "error")
                },
                "seconds": round(time.monotonic() - began, 3),
            },
            "designs": [_data(one, written.get(one.wanted.name)) for one in found],
            "readme": wrong,
            "problems": [
                {"file": str(one.path), "message": one.message} for one in project.problems
            ],
        }
        click.echo(document("fpga-timing", 1, data))
    else:
        _print(found, written, wrong)
    if wrong or any(one.status in ("failed", "error") for one in found):
        return int(ExitCode.NOT_FINE)
    return int(ExitCode.USAGE if project.problems else ExitCode.OK)


def _wanted(project: Project, select: tuple[str, ...], *, only_designs: bool) -> list[Wanted]:
    """Return what is to be measured."""
    from labctl.fpga.choice import choose
    from labctl.fpga.synth.timing import Wanted

    found = []
    for one in choose(project, select):
        target = one.core.target
        if target is None or (only_designs and target.constraints is None):
            if select:
                what = "'target'" if target is None else "'constraints' in its 'target'"
                raise UsageError(
                    f"it has no {what}", thing=one.core.name,
                    action=f"add it to {one.core.path.name}",
                )  # fmt: skip
        elif one.named:
            found += [
                Wanted(one.core, f"{one.core.name}:{each.name}", each.parameters)
                for each in one.variants
            ]
        else:
            found.append(Wanted(one.core, one.core.name, target.parameters))
    if not found:
        raise UsageError(
            "no core has a 'target'" + (" with 'constraints'" if only_designs else ""),
            thing=str(project.root), action="add it to a core.yaml",
        )  # fmt: skip
    return found


def _write(found: list[Timing], out: Path) -> dict[str, Bitstream]:
    from labctl.fpga.synth import bitstream

    out.mkdir(parents=True, exist_ok=True)
    return {one.wanted.name: bitstream.write(one, out) for one in found if one.places}


def _data(one: Timing, written: Bitstream | None) -> dict[str, Any]:
    target, best = one.wanted.target, one.best if one.places else None
    return {
        "name": one.wanted.name,
        "core": one.wanted.core.name,
        "parameters": dict(one.wanted.parameters),
        "family": target.family,
        "device": target.device,
        "package": target.package,
        "status": one.status,
        "message": str(one.error) if one.error else "",
        "area": dict(one.area),
        "seed": best.seed if best else None,
        "clocks": _clocks(best.clocks) if best else [],
        "worst_path": best.worst if best else "",
        "used": {
            kind: {"used": used, "available": available}
            for kind, (used, available) in (best.used.items() if best else ())
        },
        "seeds": [
            {
                "seed": place.seed,
                "passed": place.passed,
                "found": not place.fresh,
                "clocks": _clocks(place.clocks),
            }
            for place in one.places
        ],
        "tools": dict(one.tools),
        "bitstream": {
            "file": str(written.path), "sha256": written.sha256, "record": str(written.record),
        } if written else None,
    }  # fmt: skip


def _clocks(clocks: tuple[ClockResult, ...]) -> list[dict[str, Any]]:
    return [
        {
            "signal": one.signal,
            "wanted_mhz": one.wanted,
            "reached_mhz": one.reached,
            "passed": one.passed,
        }
        for one in clocks
    ]


def _print(found: list[Timing], written: dict[str, Bitstream], wrong: list[str]) -> None:
    from labctl.fpga.synth.figures import figures
    from labctl.report.sanitize import clean
    from labctl.report.terminal import Terminal

    terminal = Terminal()
    rows, styles = [], []
    for one in found:
        area = ", ".join(f"{count} {kind}" for kind, count in one.area.items() if count) or "-"
        clocks = one.best.clocks if one.places else ()
        rows.append(
            (
                one.wanted.name, one.wanted.target.device, area,
                "  ".join(clock.signal for clock in clocks) or "-",
                "  ".join(_mhz(clock.wanted) for clock in clocks) or "-",
                "  ".join(_mhz(clock.reached) for clock in clocks) or "-",
                one.best.seed if one.places else "-", one.status,
            )
        )  # fmt: skip
        styles.append(_COLOURS[one.status])
    terminal.table(
        ("CORE", "DEVICE", "AREA", "CLOCK", "MHZ WANTED", "REACHED", "SEED", "STATE"), rows,
        styles=styles,
    )  # fmt: skip
    for one in found:
        if one.error is not None:
            _tell(terminal, one.error)
        elif one.status == "failed":
            terminal.line(f"{one.wanted.name}: {clean(one.best.worst)}; {figures(one)}")
    for name, done in written.items():
        terminal.line(f"{name}: {clean(str(done.path))}, sha256 {done.sha256}")
    for line in wrong:
        terminal.line(clean(line))


def _mhz(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _tell(terminal: Any, error: LabctlError) -> None:  # noqa: ANN401 - a Terminal
    from labctl.report.sanitize import clean

    terminal.line(clean(str(error)))
