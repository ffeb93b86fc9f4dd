"""``labctl fpga report``: a regression that has ended, as a table, a page, or for CI."""

from __future__ import annotations

from pathlib import Path

import click

from labctl.cli.common import json_option
from labctl.cli.fpga_common import files_are_told
from labctl.errors import ExitCode, UsageError


@click.command(
    epilog="""\b
Examples:
  labctl fpga report                       the last regression again
  labctl fpga report --html report.html    one page, with waves, to look at or send
  labctl fpga report --junit junit.xml     for CI
  labctl fpga report 20261125-101500-4711 --json

\b
RUN is the name of a folder that 'labctl fpga test' told of; the last one if not
given. The page needs no other file.
Exit codes: 0 all passed, 1 something failed, 2 there is no such regression."""
)
@click.argument("run", required=False, metavar="[RUN]")
@click.option("--html", type=click.Path(), metavar="FILE", help="Write a page to FILE.")
@click.option("--junit", type=click.Path(), metavar="FILE", help="Write JUnit XML to FILE.")
@json_option
def report(run: str | None, html: str | None, junit: str | None, as_json: bool) -> int:
    """Report on a regression that has ended: on the terminal, as HTML, JUnit, JSON."""
    from labctl.errors import LabctlError
    from labctl.fileio import write_atomic
    from labctl.fpga import record
    from labctl.fpga.history import rows
    from labctl.fpga.page import page
    from labctl.report.jsondoc import document
    from labctl.report.sanitize import clean
    from labctl.report.terminal import Terminal

    for one in filter(None, (html, junit)):
        if not Path(one).absolute().parent.is_dir():
            raise UsageError(
                "there is no such folder", thing=one, action="make it, or name another"
            )
    data = record.load(run)
    with files_are_told():
        if junit:
            raw = Path(data["folder"], record.JUNIT_FILE).read_bytes()
            write_atomic(Path(junit), raw, mode=0o644)
        if html:
            try:
                past = rows(data["project"])
            except LabctlError:
                past = []  # the page has no trends, then
            write_atomic(Path(html), page(data, past), mode=0o644)
    counts = data["summary"]
    if as_json:
        click.echo(document("fpga-test", 1, data))
    else:
        terminal = Terminal()
        jobs = {job["id"]: job for job in data["jobs"]}
        for names in data["failures"]:
            first = jobs[names[0]]
            terminal.line(f"{terminal.paint(first['status'].upper(), 'red')} {clean(first['id'])}")
            terminal.line(f"  {clean(first['message'])}")
            terminal.line(f"  {clean(first['repro'])}")
        said = ", ".join(
            f"{counts[one]} {one}"
            for one in ("passed", "failed", "hung", "error", "skipped")
            if counts[one]
        )
        terminal.line(f"{said} in {counts['seconds']:.1f} s, seed {data['seed']}")
        terminal.line(f"logs and waves: {data['folder']}")
    bad = counts["failed"] + counts["hung"] + counts["error"]
    return int(ExitCode.NOT_FINE if bad else ExitCode.OK)
