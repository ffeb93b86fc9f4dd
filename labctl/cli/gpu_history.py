"""``labctl gpu record`` and ``labctl gpu report``."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from labctl.cli.common import AppContext, complete_hosts, json_option
from labctl.cli.gpu import look_at, looking
from labctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from labctl.gpu.history import Share


@click.command(
    epilog="""\b
Examples:
  labctl gpu record                    one sample, as a timer or cron would
  labctl gpu record --every 1m         until Ctrl-C
  LABCTL_GPU_DB=/srv/lab/gpu.sqlite labctl gpu record @gpu

Exit codes: 0 recorded, 2 bad usage, 3 a host was not reached (the others are
recorded), 4 the file is locked, 130 interrupted."""
)
@click.argument("hosts", nargs=-1, shell_complete=complete_hosts)
@click.option("--every", default="", metavar="SPAN", help="Go on, a sample each 30s, 1m, 5m.")
@looking
@json_option
@click.pass_obj
def record(
    app: AppContext,
    /,
    *,
    hosts: tuple[str, ...],
    every: str,
    accept_new: bool,
    deadline: float,
    as_json: bool,
) -> int:
    """Keep a sample of every card of HOSTS."""
    from labctl.gpu.bookings import span
    from labctl.gpu.history import LONGEST_GAP_S
    from labctl.gpu.history import record as keep
    from labctl.gpu.store import opened
    from labctl.report.jsondoc import document

    pause = span(every) if every else 0
    if pause and not 1 <= pause <= LONGEST_GAP_S:
        raise UsageError(
            "samples are 1 s to 5 m apart", thing=every, action="a longer gap counts as no record"
        )
    while True:
        began = time.time()
        readings, lines, _ = look_at(app, hosts, accept_new=accept_new, deadline=deadline)
        with opened() as database:
            added = keep(database, lines, now=int(began))
        missing = [reading.host for reading in readings if reading.error]
        if as_json:
            data = {"recorded": added, "not_reached": missing}
            sys.stdout.write(document("gpu-record", 1, data) + "\n")
        else:
            lost = f"; not reached: {', '.join(missing)}" if missing else ""
            sys.stdout.write(f"{added} samples{lost}\n")
        sys.stdout.flush()
        if not pause:
            return int(ExitCode.UNREACHABLE if missing else ExitCode.OK)
        time.sleep(max(0.0, began + pause - time.time()))


@click.command(
    epilog="""\b
Examples:
  labctl gpu report                    the last 7 days, by person and by card
  labctl gpu report --since 30d --csv > month.csv
  labctl gpu report --html week.html   a page that needs nothing else, to read or print
  labctl gpu report --json

Exit codes: 0 shown, 1 nothing was recorded in that time, 2 bad usage,
4 the file is locked."""
)
@click.option("--since", default="7d", show_default=True, metavar="SPAN", help="24h, 7d, 4w.")
@click.option("--csv", "as_csv", is_flag=True, help="Print rows of host, card, person, state.")
@click.option(
    "--html", type=click.Path(dir_okay=False), metavar="FILE", help="Write one page to FILE."
)
@json_option
def report(*, since: str, as_csv: bool, html: str | None, as_json: bool) -> int:
    """Show who had which card for how long, and how much of it idle."""
    from labctl.gpu.bookings import span
    from labctl.gpu.history import shares
    from labctl.gpu.page import page
    from labctl.gpu.place import database_path
    from labctl.gpu.store import opened

    now = int(time.time())
    seconds = span(since)
    found = []
    if database_path().is_file():
        with opened(write=False) as database:
            found = shares(database, since=now - seconds, until=now)
            if html and found:
                _write_page(html, page(database, found, since=now - seconds, until=now))
    if as_json:
        _print_json(found, now - seconds, now)
    elif as_csv:
        _print_csv(found)
    elif found and html:
        sys.stdout.write(f"{html}\n")
    elif found:
        _print_tables(found)
    else:
        sys.stdout.write(f"nothing was recorded in the last {since}; 'labctl gpu record' records\n")
    return int(ExitCode.OK if found else ExitCode.NOT_FINE)


def _write_page(name: str, text: str) -> None:
    from pathlib import Path

    from labctl.fileio import write_atomic

    try:
        write_atomic(Path(name), text, mode=0o644)
    except OSError as error:
        raise UsageError(error.strerror or str(error), thing=name) from None


def _print_json(found: list[Share], since: int, until: int) -> None:
    from datetime import UTC, datetime

    from labctl.gpu.history import by_person
    from labctl.report.jsondoc import document

    names = ("person", "hours", "idle_hours", "kwh")
    data = {
        "since": datetime.fromtimestamp(since, UTC).isoformat(),
        "until": datetime.fromtimestamp(until, UTC).isoformat(),
        "people": [dict(zip(names, row, strict=True)) for row in by_person(found)],
        "shares": [asdict(share) for share in found],
    }
    sys.stdout.write(document("gpu-report", 1, data) + "\n")


def _print_csv(found: list[Share]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("host", "gpu", "model", "person", "state", "hours", "load_percent", "kwh"))
    for share in found:
        writer.writerow(
            (share.host, share.unit, share.model, share.person, share.state,
             f"{share.hours:.3f}", f"{share.load:.1f}", f"{share.kwh:.3f}")
        )  # fmt: skip


def _print_tables(found: list[Share]) -> None:
    from labctl.gpu.history import by_person
    from labctl.report.terminal import Terminal

    terminal = Terminal()
    people = [
        (name, f"{held:.1f}", f"{idle:.1f}", f"{kwh:.1f}")
        for name, held, idle, kwh in by_person(found)
    ]
    if people:
        terminal.table(("PERSON", "HOURS", "OF THEM IDLE", "kWh"), people)
        terminal.line()
    rows = [
        (share.host, share.unit, share.model, share.state, share.person or "-",
         f"{share.hours:.1f}", f"{share.load:.0f}%")
        for share in found
    ]  # fmt: skip
    terminal.table(("HOST", "GPU", "MODEL", "STATE", "PERSON", "HOURS", "LOAD"), rows)
