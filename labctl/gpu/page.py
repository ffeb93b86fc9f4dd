"""The report as one page: no script, nothing loaded from elsewhere, fit to print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from labctl.gpu import drawing
from labctl.gpu.course import Course
from labctl.gpu.drawing import day
from labctl.gpu.report import CardTime, Report, Share, natural
from labctl.gpu.rollup import DAY_S, HOUR_S
from labctl.gpu.state import State
from labctl.gpu.totals import Amount

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #222; max-width: 960px; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin: 2em 0 .5em; }
p { margin: .4em 0; } p.s { color: #555; font-size: 12px; }
table { border-collapse: collapse; } th, td { padding: .2em .8em .2em 0; text-align: left; }
th { font-weight: 600; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
tr { border-bottom: 1px solid #ddd; } td { overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; } svg text { font: 10px system-ui, sans-serif; fill: #444; }
svg text.m { text-anchor: middle; }
.key span { display: inline-block; margin-right: 1em; }
.key i { display: inline-block; width: 1em; height: 1em; margin-right: .3em; vertical-align: -.1em;
  border: 1px solid #bbb; }
@page { margin: 14mm; }
@media print { body { margin: 0; font-size: 11px; } h2 { break-after: avoid; }
  tr, svg { break-inside: avoid; } thead { display: table-header-group; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
_STATES = (State.FREE, State.BUSY, State.IDLE_HELD, State.BOOKED, State.GHOST, State.SICK,
           State.UNKNOWN)  # fmt: skip
# So many of those who booked nothing are named, who used most first; CSV and JSON have all.
_MOST = 20


def page(report: Report, course: Course) -> str:
    """Return ``report`` with the pictures of ``course`` as an HTML document."""
    span = f"{day(report.since)} to {day(report.until)}"
    parts = [
        f"<h1>GPUs, {escape(span)}</h1>",
        f'<p class="s">{escape(_how_much(report))}</p>',
        *_people(report),
        *_pictures(course),
        *_faults(report),
        *_cards(report),
        *_bookings(report),
        *_shares(report),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>GPUs, {escape(span)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _how_much(report: Report) -> str:
    cards = report.cards
    recorded = sum(card.amount.hours for card in cards)
    span = (report.until - report.since) / HOUR_S
    share = recorded / (span * len(cards)) if cards else 0.0
    return (
        f"{len(cards)} cards; {recorded:.0f} card-hours are recorded, {share * 100:.0f} % of the"
        " time. Times are hours, exact to the second; what was not recorded counts as nothing."
    )


def _people(report: Report) -> list[str]:
    rows = [
        (one.name, f"{one.hours:.1f}", f"{one.idle:.1f}", f"{one.shared:.1f}",
         f"{one.unbooked:.1f}", f"{one.unused:.1f}", number(one.kwh))
        for one in report.people
    ]  # fmt: skip
    header = ("Person", "Held", "idle-held", "shared", "unbooked", "Booked, not used", "kWh")
    return [
        "<h2>People</h2>",
        _table(header, rows, numbers=6) if rows else "<p>Nobody had a card.</p>",
        '<p class="s">A card that several people hold at once counts for each of them, its energy'
        " in equal parts.</p>" if any(one.shared for one in report.people) else "",
    ]  # fmt: skip


def _pictures(course: Course) -> list[str]:
    each = {HOUR_S: "hour", DAY_S: "day (UTC)"}.get(course.step, "week (UTC, from Thursday)")
    return [
        f"<h2>The week from {day(course.map_since)}</h2>",
        drawing.key(),
        drawing.week(course),
        "<h2>The usual week: percent of the cards in use, by weekday and hour</h2>",
        f'<p class="s">Since {day(course.usual_since)}, held without work included, in the time'
        " zone of the machine that made this page.</p>",
        drawing.usual_week(course),
        f"<h2>Load of each host, mean of each {each}</h2>",
        drawing.lines(course),
    ]


def _faults(report: Report) -> list[str]:
    rows = [
        (one.host, one.unit, one.state, one.why, day(one.first), day(one.last), f"{one.hours:.1f}")
        for one in report.faults
    ]
    header = ("Host", "GPU", "State", "What", "First", "Last", "Hours")
    return [
        "<h2>Faults</h2>",
        _table(header, rows, numbers=1) if rows else "<p>No card was sick, ghost or unknown.</p>",
    ]


def _bookings(report: Report) -> list[str]:
    if not report.bookings:
        return ["<h2>Bookings</h2>", "<p>Nobody booked a card in this time.</p>"]
    unbooked = [
        (one.host, one.unit, one.person, one.state, "others" if one.booked else "nobody",
         f"{one.amount.hours:.1f}")
        for one in report.unbooked
    ]  # fmt: skip
    unused = [(one.host, one.unit, one.person, f"{one.amount.hours:.1f}") for one in report.unused]
    return [
        "<h2>Used without booking</h2>",
        _table(("Host", "GPU", "Person", "State", "Booked by", "Hours"), unbooked, numbers=1)
        if unbooked
        else "<p>All use was booked.</p>",
        "<h2>Booked, not used</h2>",
        _table(("Host", "GPU", "Booked by", "Hours"), unused, numbers=1)
        if unused
        else "<p>All that was booked was used.</p>",
    ]


def _cards(report: Report) -> list[str]:
    def row(card: CardTime) -> tuple[str, ...]:
        hours = (card.states.get(state, 0.0) for state in _STATES)
        return (card.host, card.unit, card.model,
                *(f"{one:.1f}" if one else "-" for one in hours), f"{card.amount.hours:.1f}",
                number(card.amount.mean_load, " %", 0), number(card.amount.kwh))  # fmt: skip

    header = ("Host", "GPU", "Model", *_STATES, "recorded", "Load", "kWh")
    return [
        "<h2>Cards, hours in each state</h2>",
        _table(header, map(row, report.cards), numbers=len(_STATES) + 3),
    ]


def _shares(report: Report) -> list[str]:
    def row(one: Share) -> tuple[str, ...]:
        return (one.host, one.unit, one.person, one.state, f"{one.amount.hours:.1f}",
                number(one.amount.mean_load, " %", 0), number(one.amount.kwh))  # fmt: skip

    rows = [row(one) for one in merged(report.shares) if one.people]
    header = ("Host", "GPU", "Person", "State", "Hours", "Load", "kWh")
    return ["<h2>Who had which card</h2>", _table(header, rows, numbers=3)] if rows else []


def merged(shares: Iterable[Share]) -> list[Share]:
    """Return ``shares`` without what tells bookings and faults apart."""
    found: dict[tuple[str, str, str, tuple[str, ...], str], Share] = {}
    for one in shares:
        kind = (one.host, one.unit, one.model, one.people, one.state)
        if kind not in found:
            found[kind] = Share(*kind, booked=0, why="", amount=Amount())
        found[kind].amount.add(one.amount)
    return sorted(
        found.values(), key=lambda one: (one.host, natural(one.unit), -one.amount.seconds)
    )


def number(value: float | None, unit: str = "", digits: int = 1) -> str:
    """Return ``value`` with its unit; a dash where it is not known."""
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int) -> str:
    """Return a table whose last ``numbers`` columns are numbers."""
    first = len(header) - numbers

    def row(cells: Sequence[str], tag: str) -> str:
        return (
            "<tr>"
            + "".join(
                f"<{tag}{' class=n' if at >= first else ''}>{escape(cell)}</{tag}>"
                for at, cell in enumerate(cells)
            )
            + "</tr>"
        )

    body = "\n".join(row(cells, "td") for cells in rows)
    return f"<table><thead>{row(header, 'th')}</thead><tbody>\n{body}</tbody></table>"
