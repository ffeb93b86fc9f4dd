"""``labctl gpu book``, ``release``, ``bookings``."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from labctl.cli.common import AppContext, json_option
from labctl.cli.gpu import access_of, look_at, looking, machines_of
from labctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from labctl.gpu.bookings import Entry
    from labctl.gpu.report import Share, Use
    from labctl.gpu.show import Line


@click.command(
    epilog="""\b
Examples:
  labctl gpu book gpu1:0 --for 4h
  labctl gpu book gpu1:0 gpu1:1 --for 2d --note 'paper deadline'
  labctl gpu book local:0:3 --for 1h        MIG device 3 of card 0 of this machine

All or none. It keeps nobody out: others see it, and 'labctl gpu free' passes it
over. They are kept in $LABCTL_GPU_DB: a file that all can write, or the URL of
a PostgreSQL server.

A card of Slurm's is booked with all others of its node, by a reservation of
Slurm. That keeps others out, and takes an operator of Slurm or root.

Exit codes: 0 booked, 1 the card cannot be used, 2 bad usage, 3 not reached,
4 somebody else has booked it."""
)
@click.argument("cards", nargs=-1, required=True, metavar="HOST:GPU...")
@click.option("--for", "span", default="4h", show_default=True, metavar="SPAN", help="90m, 4h, 2d.")
@click.option("--note", default="", metavar="TEXT", help="What for.")
@looking
@json_option
@click.pass_obj
def book(
    app: AppContext,
    /,
    *,
    cards: tuple[str, ...],
    span: str,
    note: str,
    accept_new: bool,
    deadline: float,
    as_json: bool,
) -> int:
    """Announce to the others that you use these cards."""
    from labctl.gpu import bookings as kept
    from labctl.gpu.slurm_book import reserve, whole_nodes
    from labctl.gpu.state import State
    from labctl.gpu.store import opened

    seconds = kept.span(span)
    wanted = [_split(card) for card in cards]
    hosts = list(dict.fromkeys(host for host, _ in wanted))
    readings, lines, _ = look_at(app, hosts, accept_new=accept_new, deadline=deadline)
    found = [
        _find(lines, host, name, card) for card, (host, name) in zip(cards, wanted, strict=True)
    ]
    for card, line in zip(cards, found, strict=True):
        if line is None:
            unreached = next((one for one in readings if one.error), None)
            if unreached:
                sys.stderr.write(f"labctl: {unreached.host}: {unreached.error}\n")
                return int(ExitCode.UNREACHABLE)
        elif line.verdict.state is State.SICK:
            sys.stderr.write(f"labctl: {card}: {line.verdict.why}\n")
            return int(ExitCode.NOT_FINE)
    now = int(time.time())
    cards_found = [line for line in found if line is not None]
    reserved = {one.host: one for one in whole_nodes(cards_found, lines, person=kept.me())}
    access = access_of(accept_new, deadline)
    made = []
    with opened() as database:
        for line in cards_found:
            of_slurm = reserved.get(line.reading.host) if line.under_slurm else None
            made += kept.book(
                database,
                [(line.reading, line.unit)],
                person=kept.me(),
                now=now,
                until=now + seconds,
                note=of_slurm.note if of_slurm else note,
            )
        # Within the transaction: what Slurm refuses is not booked.
        for one in reserved.values():
            reserve(
                one, machines_of(app, [one.host]), person=kept.me(), seconds=seconds, access=access
            )
    _print_entries(made, now, as_json=as_json)
    return int(ExitCode.OK)


def _split(card: str) -> tuple[str, str]:
    host, colon, name = card.partition(":")
    if not (host and colon and name):
        raise UsageError("no card", thing=card, action="write HOST:GPU as 'labctl gpu' shows them")
    return host, name


def _find(lines: list[Line], host: str, name: str, card: str) -> Line | None:
    from labctl.gpu.identity import key

    own = [line for line in lines if line.reading.host == host]
    for line in own:
        if name in (line.unit.name, key(line.unit)):
            return line
    if own:
        known = ", ".join(line.unit.name for line in own)
        raise UsageError("no such card", thing=card, action=f"{host} has {known}")
    return None


@click.command(
    epilog="""\b
Examples:
  labctl gpu release                 all your bookings
  labctl gpu release gpu1            those on gpu1
  labctl gpu release gpu1:0

Exit codes: 0 done, also where there was none, 2 bad usage, 4 the file is locked."""
)
@click.argument("card", required=False, default="", metavar="[HOST[:GPU]]")
@json_option
@click.pass_obj
def release(app: AppContext, /, *, card: str, as_json: bool) -> int:
    """End your bookings."""
    from labctl.gpu import bookings as kept
    from labctl.gpu.slurm_book import reservation_of, unreserve
    from labctl.gpu.store import opened

    host, _, name = card.partition(":")
    now = int(time.time())
    with opened() as database:
        ended = kept.release(database, person=kept.me(), now=now, host=host, name=name)
        # Within the transaction: a booking whose reservation cannot be ended stays.
        found = {reservation_of(entry.note, entry.host) for entry in ended}
        for one in found - {None}:
            assert one is not None
            unreserve(one, machines_of(app, [one.host]), access=access_of(accept_new=False))
    _print_entries(ended, now, as_json=as_json)
    return int(ExitCode.OK)


@click.command(
    epilog="""\b
Examples:
  labctl gpu bookings
  labctl gpu bookings --since 7d
  labctl gpu bookings --json

Beside each booking: how much of it was used so far, and how much stood idle.
Below: who used a card without a booking of their own. Both need 'labctl gpu
record'.

Exit codes: 0 shown, 2 bad usage, 3 the server was not reached, 4 the file is
locked."""
)
@click.option(
    "--since", default="24h", show_default=True, metavar="SPAN", help="For use without booking."
)
@json_option
def bookings(*, since: str, as_json: bool) -> int:
    """List the bookings that have not ended, and use without one."""
    from labctl.gpu import bookings as kept
    from labctl.gpu.report import report, uses
    from labctl.gpu.store import opened
    from labctl.store.schema import NothingThereError

    now = int(time.time())
    begin = now - kept.span(since)
    found: list[Use] = []
    unbooked: list[Share] = []
    try:
        with opened(write=False) as database:
            found = uses(database, now=now)
            unbooked = report(database, since=begin, until=now).unbooked
    except NothingThereError:
        pass
    _print_uses(found, unbooked, now, since, as_json=as_json)
    return int(ExitCode.OK)


def _print_uses(
    found: list[Use], unbooked: list[Share], now: int, since: str, *, as_json: bool
) -> None:
    from labctl.gpu.bookings import clock
    from labctl.gpu.page import number
    from labctl.report.jsondoc import document
    from labctl.report.terminal import Terminal

    if as_json:
        data = {
            "bookings": [
                {**_entry(use.entry), "used_hours": use.used, "idle_hours": use.idle}
                for use in found
            ],
            "unbooked": [
                {"host": one.host, "unit": one.unit, "people": list(one.people),
                 "state": one.state, "hours": one.amount.hours, "booked_by_others": one.booked == 2}
                for one in unbooked
            ],
        }  # fmt: skip
        sys.stdout.write(document("gpu-bookings", 1, data) + "\n")
        return
    terminal = Terminal()
    if found:
        rows = [
            (use.entry.host, use.entry.name, use.entry.person, clock(use.entry.since, now),
             clock(use.entry.until, now), number(use.used), number(use.idle), use.entry.note)
            for use in found
        ]  # fmt: skip
        header = ("HOST", "GPU", "PERSON", "SINCE", "UNTIL", "USED h", "IDLE h", "NOTE")
        terminal.table(header, rows)
    else:
        terminal.line("no bookings")
    if unbooked:
        terminal.line()
        terminal.line(f"used without booking in the last {since}:")
        rows_ = [
            (one.host, one.unit, one.person or "-", one.state, f"{one.amount.hours:.1f}",
             "somebody else had booked it" if one.booked else "")
            for one in unbooked
        ]  # fmt: skip
        terminal.table(("HOST", "GPU", "PERSON", "STATE", "HOURS", ""), rows_)


def _entry(entry: Entry) -> dict[str, object]:
    from datetime import UTC, datetime

    def iso(moment: int) -> str:
        return datetime.fromtimestamp(moment, UTC).isoformat()

    return {**asdict(entry), "since": iso(entry.since), "until": iso(entry.until)}


def _print_entries(found: list[Entry], now: int, *, as_json: bool) -> None:
    from labctl.gpu.bookings import clock
    from labctl.report.jsondoc import document
    from labctl.report.terminal import Terminal

    if as_json:
        data = {"bookings": [_entry(entry) for entry in found]}
        sys.stdout.write(document("gpu-bookings", 1, data) + "\n")
        return
    terminal = Terminal()
    if not found:
        terminal.line("no bookings")
        return
    rows = [
        (entry.host, entry.name, entry.person, clock(entry.since, now), clock(entry.until, now),
         entry.note)
        for entry in found
    ]  # fmt: skip
    terminal.table(("HOST", "GPU", "PERSON", "SINCE", "UNTIL", "NOTE"), rows)
