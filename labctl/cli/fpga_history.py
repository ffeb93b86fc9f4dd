"""``labctl fpga history``: what came of runs until now."""

from __future__ import annotations

import time

import click

from labctl.cli.common import json_option
from labctl.errors import ExitCode, UsageError

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@click.command(
    epilog="""\b
Examples:
  labctl fpga history
  labctl fpga history uart 'fifo:*' --since 7d
  labctl fpga history --since 2026-11-01 --json

\b
FLAKY is how often a test changed between passing and failing although the
commit was the same and nothing had been edited. What fails comes first, then
what is flaky, then what takes longest. $LABCTL_FPGA_DB names a file or a server
(postgresql://USER@HOST/DATABASE) that people share.
Exit codes: 0 fine, 2 bad usage, 3 the server does not answer."""
)
@click.argument("select", nargs=-1)
@click.option(
    "-C", "--project", "folder", type=click.Path(file_okay=False), metavar="FOLDER",
    help="Only tests of the project in FOLDER; of all if not given.",
)  # fmt: skip
@click.option(
    "--since", metavar="WHEN", default="30d", show_default=True,
    help="A date (2026-11-01), or a time ago: 90m, 12h, 7d, 4w.",
)  # fmt: skip
@json_option
def history(select: tuple[str, ...], folder: str | None, since: str, as_json: bool) -> int:
    """Show how tests fared: failures, flaky ones, the slowest; all, or those SELECT names."""
    from pathlib import Path

    from labctl.fpga.history import place, rows
    from labctl.fpga.record import project_name
    from labctl.report.jsondoc import document
    from labctl.report.sanitize import clean
    from labctl.report.terminal import Terminal

    begin = _since(since)
    found = [
        one
        for one in rows(project_name(Path(folder)) if folder else None, begin)
        if not select or any(one.matches(pattern) for pattern in select)
    ]
    found.sort(key=lambda one: (one.status == "passed", -one.flaky, -one.seconds))
    if as_json:
        tests = [
            {
                "id": one.name, "core": one.core, "variant": one.variant, "test": one.test,
                "simulator": one.simulator,
                "runs": one.runs, "failed": one.failed, "flaky": round(one.flaky, 4),
                "status": one.status, "seconds": round(one.seconds, 4), "last": one.last,
                "failing_since": one.since or None,
                "trend": [round(seconds, 4) for seconds in one.trend],
            }
            for one in found
        ]  # fmt: skip
        click.echo(document("fpga-history", 1, {"since": begin, "tests": tests}))
        return int(ExitCode.OK)
    terminal = Terminal()
    if not found:
        terminal.line(clean(f"no runs since {since} in {place()}"))
        return int(ExitCode.OK)
    terminal.table(
        ("TEST", "SIMULATOR", "NOW", "RUNS", "FAILED", "FLAKY", "SECONDS", "LAST", "FAILS SINCE"),
        [
            (
                clean(one.name),
                clean(one.simulator),
                terminal.paint(one.status, "green" if one.status == "passed" else "red"),
                one.runs,
                one.failed,
                f"{one.flaky:.0%}",
                f"{one.seconds:.2f}",
                time.strftime("%Y-%m-%d %H:%M", time.localtime(one.last)),
                one.since or "-",
            )
            for one in found
        ],
    )
    return int(ExitCode.OK)


def _since(text: str) -> float:
    """Return the time that ``text`` means, seconds since 1970."""
    unit = _UNITS.get(text[-1:])
    if unit and text[:-1].isdecimal() and len(text) < 9:
        return time.time() - int(text[:-1]) * unit
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%d"))
    except (ValueError, OverflowError):
        raise UsageError(
            "this is no time", thing=text, action="write a date such as 2026-11-01, or 7d, 12h"
        ) from None
