"""``labctl gpu book``, ``release``, ``bookings``."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from labctl.cli.common import AppContext, json_option
from labctl.cli.gpu import look_at, looking
from labctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from labctl.gpu.bookings import Entry
    from labctl.gpu.show import Line


@click.command(
    epilog="""\b
Examples:
  labctl gpu book gpu1:0 --for 4h
  labctl gpu book gpu1:0 gpu1:1 --for 2d --note 'paper deadline'
  labctl gpu book local:0:3 --for 1h        MIG device 3 of card 0 of this machine

All or none. It keeps nobody out: others see it, and 'labctl gpu free' passes it
over. The file is $LABCTL_GPU_DB; name one that all can write to share it.

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
    from labctl.gpu.rule import State
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
    with opened() as database:
        made = kept.book(
            database,
            [(line.reading, line.unit) for line in found if line is not None],
            person=kept.me(),
            now=now,
            until=now + seconds,
            note=note,
        )
    _print_entries(made, now, as_json=as_json)
    return int(ExitCode.OK)


def _split(card: str) -> tuple[str, str]:
    host, colon, name = card.partition(":")
    if not (host and colon and name):
        raise UsageError("no card", thing=card, action="write HOST:GPU as 'labctl gpu' shows them")
    return host, name


def _find(lines: list[Line], host: str, name: str, card: str) -> Line | None:
    from labctl.gpu.history import key

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
def release(*, card: str, as_json: bool) -> int:
    """End your bookings."""
    from labctl.gpu import bookings as kept
    from labctl.gpu.store import opened

    host, _, name = card.partition(":")
    now = int(time.time())
    with opened() as database:
        ended = kept.release(database, person=kept.me(), now=now, host=host, name=name)
    _print_entries(ended, now, as_json=as_json)
    return int(ExitCode.OK)


@click.command(
    epilog="""\b
Examples:
  labctl gpu bookings
  labctl gpu bookings --json

Exit codes: 0 shown, 4 the file is locked."""
)
@json_option
def bookings(*, as_json: bool) -> int:
    """List the bookings that have not ended."""
    from labctl.gpu import bookings as kept
    from labctl.gpu.place import database_path
    from labctl.gpu.store import opened

    now = int(time.time())
    found: list[Entry] = []
    if database_path().is_file():
        with opened(write=False) as database:
            found = kept.entries(database, now=now)
    _print_entries(found, now, as_json=as_json)
    return int(ExitCode.OK)


def _print_entries(found: list[Entry], now: int, *, as_json: bool) -> None:
    from datetime import UTC, datetime

    from labctl.gpu.bookings import clock
    from labctl.report.jsondoc import document
    from labctl.report.terminal import Terminal

    if as_json:

        def iso(moment: int) -> str:
            return datetime.fromtimestamp(moment, UTC).isoformat()

        data = [
            {**asdict(entry), "since": iso(entry.since), "until": iso(entry.until)}
            for entry in found
        ]
        sys.stdout.write(document("gpu-bookings", 1, {"bookings": data}) + "\n")
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
