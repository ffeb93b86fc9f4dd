"""``labctl gpu record`` and ``labctl gpu report``."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from labctl.cli.common import AppContext, complete_hosts, json_option
from labctl.cli.gpu import look_at, looking
from labctl.errors import DependencyError, ExitCode, LabctlError, UsageError

if TYPE_CHECKING:
    from labctl.gpu.history import Sample
    from labctl.gpu.report import Report, Share
    from labctl.gpu.totals import Amount

# What a recorder keeps in mind while the database is away: a day of one sample a minute.
_MOST_WAITING = 1440


@click.command(
    epilog="""\b
Examples:
  labctl gpu record                    one sample, as a timer or cron would
  labctl gpu record --every 1m         until Ctrl-C
  LABCTL_GPU_DB=/srv/lab/gpu.sqlite labctl gpu record @gpu
  LABCTL_GPU_DB=postgresql://lab@db/lab labctl gpu record @gpu --every 1m

With --every, a database that cannot be written is waited for; the samples of
up to a day are written late.

Exit codes: 0 recorded, 2 bad usage, 3 a host (the others are recorded) or the
server was not reached, 4 the file is locked, 130 interrupted."""
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
    from labctl.gpu.history import samples
    from labctl.gpu.place import database_place
    from labctl.gpu.rollup import LONGEST_GAP_S
    from labctl.report.jsondoc import document

    pause = span(every) if every else 0
    if pause and not 1 <= pause <= LONGEST_GAP_S:
        raise UsageError(
            "samples are 1 s to 5 m apart", thing=every, action="a longer gap counts as no record"
        )
    database_place()  # what cannot be is said before the first look
    waiting: list[tuple[int, list[Sample]]] = []
    while True:
        began = time.time()
        readings, lines, _ = look_at(app, hosts, accept_new=accept_new, deadline=deadline)
        waiting.append((int(began), samples(lines)))
        added = _write(waiting, go_on=bool(pause))
        missing = [reading.host for reading in readings if reading.error]
        if as_json:
            data = {"recorded": added, "not_reached": missing, "waiting": len(waiting)}
            sys.stdout.write(document("gpu-record", 1, data) + "\n")
        else:
            lost = f"; not reached: {', '.join(missing)}" if missing else ""
            sys.stdout.write(f"{added} samples{lost}\n")
        sys.stdout.flush()
        if not pause:
            return int(ExitCode.UNREACHABLE if missing else ExitCode.OK)
        time.sleep(max(0.0, began + pause - time.time()))


def _write(waiting: list[tuple[int, list[Sample]]], *, go_on: bool) -> int:
    """Keep what ``waiting`` holds and empty it; return how many samples were new.

    With ``go_on`` a database that cannot be written just now is waited for: the samples stay, the
    latest ``_MOST_WAITING`` rounds of them.
    """
    from labctl.gpu.history import record as keep
    from labctl.gpu.store import opened

    try:
        with opened() as database:
            added = sum(keep(database, found, now=moment) for moment, found in waiting)
    except LabctlError as error:
        if not go_on or isinstance(error, UsageError | DependencyError):
            raise
        del waiting[:-_MOST_WAITING]
        sys.stderr.write(f"labctl: {error}\n")
        sys.stderr.write(f"labctl: {len(waiting)} rounds wait to be written\n")
        return 0
    waiting.clear()
    return added


@click.command(
    epilog="""\b
Examples:
  labctl gpu report                    the last 7 days, by person and by card
  labctl gpu report --since 30d --csv > month.csv
  labctl gpu report --html week.html   a page that needs nothing else, to read or print
  labctl gpu report --json

Times are exact to the second. What was not recorded counts as nothing.

Exit codes: 0 shown, 1 nothing was recorded in that time, 2 bad usage,
3 the server was not reached, 4 the file is locked."""
)
@click.option("--since", default="7d", show_default=True, metavar="SPAN", help="24h, 7d, 4w.")
@click.option(
    "--csv", "as_csv", is_flag=True, help="Print a row for each card, state, and who held it."
)
@click.option(
    "--html", type=click.Path(dir_okay=False), metavar="FILE", help="Write one page to FILE."
)
@json_option
def report(*, since: str, as_csv: bool, html: str | None, as_json: bool) -> int:
    """Show who had which card for how long, what stood idle or was booked for nothing, faults."""
    from labctl.gpu.bookings import span
    from labctl.gpu.report import Report
    from labctl.gpu.report import report as made
    from labctl.gpu.store import opened
    from labctl.store.schema import NothingThereError

    now = int(time.time())
    begin = now - span(since)
    found = None
    try:
        with opened(write=False) as database:
            found = made(database, since=begin, until=now)
            if html and found.shares:
                from labctl.gpu.course import course
                from labctl.gpu.page import page

                _write_page(html, page(found, course(database, since=begin, until=now)))
    except NothingThereError:
        pass
    if as_json:
        _print_json(found or Report(begin, now, [], [], 0))
    elif as_csv:
        _print_csv(found.shares if found else [])
    elif found is None or not found.shares:
        sys.stdout.write(f"nothing was recorded in the last {since}; 'labctl gpu record' records\n")
    elif html:
        sys.stdout.write(f"{html}\n")
    else:
        _print_tables(found)
    return int(ExitCode.OK if found and found.shares else ExitCode.NOT_FINE)


def _write_page(name: str, text: str) -> None:
    from pathlib import Path

    from labctl.fileio import write_atomic

    try:
        write_atomic(Path(name), text, mode=0o644)
    except OSError as error:
        raise UsageError(error.strerror or str(error), thing=name) from None


def _print_json(found: Report) -> None:
    from labctl.report.jsondoc import document

    data = {
        "since": _iso(found.since),
        "until": _iso(found.until),
        "people": [asdict(one) for one in found.people],
        "cards": [
            {"host": one.host, "unit": one.unit, "model": one.model, "states": one.states,
             **_amount(one.amount)}
            for one in found.cards
        ],
        "shares": [_share(one) for one in found.shares],
        "faults": [
            {**asdict(one), "first": _iso(one.first), "last": _iso(one.last)}
            for one in found.faults
        ],
        "bookings": found.bookings,
        "unbooked": [_share(one) for one in found.unbooked],
        "unused": [_share(one) for one in found.unused],
    }  # fmt: skip
    sys.stdout.write(document("gpu-report", 2, data) + "\n")


def _iso(moment: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(moment, UTC).isoformat()


def _amount(amount: Amount) -> dict[str, object]:
    return {"hours": amount.hours, "load": amount.mean_load, "kwh": amount.kwh}


def _share(one: Share) -> dict[str, object]:
    return {
        "host": one.host, "unit": one.unit, "model": one.model, "people": list(one.people),
        "state": one.state, "booked": ("no", "yes", "by others")[one.booked], "why": one.why,
        **_amount(one.amount),
    }  # fmt: skip


def _print_csv(found: list[Share]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(
        ("host", "gpu", "model", "person", "state", "hours", "load_percent", "kwh", "booked", "why")
    )
    for one in found:
        load, kwh = one.amount.mean_load, one.amount.kwh
        writer.writerow(
            (one.host, one.unit, one.model, one.person, one.state, f"{one.amount.hours:.4f}",
             "" if load is None else f"{load:.1f}", "" if kwh is None else f"{kwh:.4f}",
             ("no", "yes", "by others")[one.booked], one.why)
        )  # fmt: skip


def _print_tables(found: Report) -> None:
    from labctl.gpu.page import merged, number
    from labctl.report.terminal import Terminal

    terminal = Terminal()
    people = [
        (one.name, f"{one.hours:.1f}", f"{one.idle:.1f}", f"{one.shared:.1f}",
         f"{one.unbooked:.1f}", f"{one.unused:.1f}", number(one.kwh))
        for one in found.people
    ]  # fmt: skip
    if people:
        header = ("PERSON", "HOURS HELD", "IDLE", "SHARED", "UNBOOKED", "BOOKED, NOT USED", "kWh")
        terminal.table(header, people)
        terminal.line()
    rows = [
        (one.host, one.unit, one.model, one.state, one.person or "-", f"{one.amount.hours:.1f}",
         number(one.amount.mean_load, "%", 0))
        for one in merged(found.shares)
    ]  # fmt: skip
    terminal.table(("HOST", "GPU", "MODEL", "STATE", "PERSON", "HOURS", "LOAD"), rows)
    if found.faults:
        from labctl.gpu.drawing import day

        faults = [
            (one.host, one.unit, one.state, one.why, day(one.first), day(one.last),
             f"{one.hours:.1f}")
            for one in found.faults
        ]  # fmt: skip
        terminal.line()
        terminal.table(("HOST", "GPU", "STATE", "WHAT", "FIRST", "LAST", "HOURS"), faults)
