"""The report as one page: no script, nothing loaded from elsewhere, fit to print."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from labctl.gpu.history import Share, by_person
from labctl.gpu.rule import State

_HOUR = 3600
# States of a week's map; told apart in grey, too, by their letter.
_COLOURS = {
    State.FREE: "#e8f5e9",
    State.BUSY: "#1565c0",
    State.IDLE_HELD: "#f9a825",
    State.GHOST: "#8e24aa",
    State.BOOKED: "#90caf9",
    State.SICK: "#c62828",
    State.UNKNOWN: "#9e9e9e",
}
_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; } th, td { padding: .2em .8em .2em 0; text-align: left; }
td.n, th.n { text-align: right; } tr { border-bottom: 1px solid #ddd; }
svg text { font: 10px system-ui, sans-serif; fill: #444; }
.key span { display: inline-block; margin-right: 1em; }
.key i { display: inline-block; width: 1em; height: 1em; margin-right: .3em; }
@media print { body { margin: 0; } h2 { break-after: avoid; } svg { max-width: 100%; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def page(database: sqlite3.Connection, found: Sequence[Share], *, since: int, until: int) -> str:
    """Return the report of the time from ``since`` to ``until`` as an HTML document."""
    span = f"{_day(since)} to {_day(until)}"
    people = [
        (name, f"{held:.1f}", f"{idle:.1f}", f"{kwh:.1f}")
        for name, held, idle, kwh in by_person(found)
    ]
    cards = [
        (share.host, share.unit, share.model, str(share.state), share.person or "-",
         f"{share.hours:.1f}", f"{share.load:.0f} %", f"{share.kwh:.1f}")
        for share in found
    ]  # fmt: skip
    faults = [row for row in cards if row[3] in (State.SICK, State.GHOST, State.UNKNOWN)]
    frame = _frame(since, until)
    hours = _hours(database, frame[0] * _HOUR, until)
    parts = [
        f"<h1>GPUs, {escape(span)}</h1>",
        "<h2>People</h2>",
        _table(("Person", "Hours", "Idle-held", "kWh"), people, numbers=3),
        "<h2>Hour by hour</h2>",
        _key(),
        _map(hours, frame),
        "<h2>Load</h2>",
        _lines(hours, frame),
        "<h2>Sick, ghost, unknown</h2>",
        _table(_CARD_HEADER, faults, numbers=3) if faults else "<p>Nothing of it was seen.</p>",
        "<h2>Cards</h2>",
        _table(_CARD_HEADER, cards, numbers=3),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>GPUs, {escape(span)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


_CARD_HEADER = ("Host", "GPU", "Model", "State", "Person", "Hours", "Load", "kWh")


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int) -> str:
    """Return a table whose last ``numbers`` columns are numbers."""

    def row(cells: Sequence[str], tag: str) -> str:
        first = len(cells) - numbers
        return (
            "<tr>"
            + "".join(
                f"<{tag}{' class=n' if at >= first else ''}>{escape(cell)}</{tag}>"
                for at, cell in enumerate(cells)
            )
            + "</tr>"
        )

    body = "\n".join(row(cells, "td") for cells in rows)
    return f"<table>{row(header, 'th')}\n{body}</table>"


def _key() -> str:
    items = "".join(
        f'<span><i style="background:{colour}"></i>{state}</span>'
        for state, colour in _COLOURS.items()
    )
    return f'<p class="key">{items}</p>'


# For each unit and hour: the state it was in longest, and its mean load.
Hours = dict[str, dict[int, tuple[str, float]]]


def _hours(database: sqlite3.Connection, since: int, until: int) -> Hours:
    """Return for each unit and hour: the state it was in longest, and its mean load."""
    rows = database.execute(
        "SELECT units.host || ' ' || units.name, hour, state, sum(seconds), sum(load)"
        " FROM hours JOIN units ON units.id = hours.unit WHERE hour >= ? AND hour < ?"
        " GROUP BY hours.unit, hour, state ORDER BY units.host, units.name, hour, sum(seconds)",
        (since // _HOUR * _HOUR, until),
    )
    sums: dict[str, dict[int, list[tuple[str, float, float]]]] = {}
    for unit, hour, state, seconds, load in rows:
        sums.setdefault(unit, {}).setdefault(hour, []).append((state, seconds, load))
    found: Hours = {}
    for unit, hours in sums.items():
        for hour, entries in hours.items():
            seconds = sum(entry[1] for entry in entries)
            load = sum(entry[2] for entry in entries) / seconds if seconds else 0.0
            found.setdefault(unit, {})[hour] = (entries[-1][0], load)
    return found


# A map of more than four weeks would be too fine to see: it shows the last four.
_MOST_HOURS = 4 * 7 * 24
_LABEL, _WIDTH, _ROW = 140, 960, 14


def _frame(since: int, until: int) -> tuple[int, int, float]:
    """Return the first hour shown, how many, and the width of one."""
    last = (until - 1) // _HOUR
    first = max(since // _HOUR, last - _MOST_HOURS + 1)
    count = max(1, last - first + 1)
    return first, count, (_WIDTH - _LABEL) / count


def _map(found: Hours, frame: tuple[int, int, float]) -> str:
    """Return a row for each unit, a cell for each hour in the colour of its state."""
    first, count, width = frame
    height = len(found) * _ROW + 20
    shapes = [_ticks(first, count, width, height)]
    for row, (unit, hours) in enumerate(found.items()):
        top = row * _ROW
        shapes.append(f'<text x="0" y="{top + 10}">{escape(unit[:24])}</text>')
        for hour, (state, load) in hours.items():
            left = _LABEL + (hour // _HOUR - first) * width
            colour = _COLOURS.get(State(state), "#9e9e9e")
            title = f"{unit}, {_day(hour)}: {state}, {load:.0f} %"
            shapes.append(
                f'<rect x="{left:.1f}" y="{top}" width="{width:.2f}" height="{_ROW - 2}" '
                f'fill="{colour}"><title>{escape(title)}</title></rect>'
            )
    return _svg(height, shapes)


def _lines(found: Hours, frame: tuple[int, int, float]) -> str:
    """Return the mean load of all cards of each host over time."""
    first, count, width = frame
    hosts: dict[str, dict[int, list[float]]] = {}
    for unit, hours in found.items():
        for hour, (_, load) in hours.items():
            host = unit.rpartition(" ")[0]
            hosts.setdefault(host, {}).setdefault(hour // _HOUR, []).append(load)
    tall, shapes = 60, []
    for row, (host, loads) in enumerate(hosts.items()):
        top = row * (tall + 10)
        shapes.append(f'<text x="0" y="{top + 12}">{escape(host[:24])}</text>')
        shapes.append(f'<text x="{_LABEL - 34}" y="{top + 10}">100 %</text>')
        base = top + tall
        shapes.append(f'<path d="M{_LABEL} {base}H{_WIDTH}" stroke="#bbb"/>')
        points = " ".join(
            f"{_LABEL + (hour - first + 0.5) * width:.1f},"
            f"{base - min(100.0, sum(own) / len(own)) / 100 * tall:.1f}"
            for hour, own in sorted(loads.items())
        )
        shapes.append(f'<polyline points="{points}" fill="none" stroke="#1565c0"/>')
    height = len(hosts) * (tall + 10) + 20
    return _svg(height, [_ticks(first, count, width, height), *shapes])


def _ticks(first: int, count: int, width: float, height: int) -> str:
    """Return a line and a date at each midnight of this machine's zone, at most one in 60 px."""
    shapes, last = [], -60.0
    for at in range(count):
        moment = datetime.fromtimestamp((first + at) * _HOUR).astimezone()
        left = _LABEL + at * width
        if moment.hour == 0 and left - last >= 60:
            last = left
            shapes.append(f'<path d="M{left:.1f} 0V{height - 16}" stroke="#ddd"/>')
            text = moment.strftime("%m-%d")
            shapes.append(f'<text x="{left:.1f}" y="{height - 4}">{text}</text>')
    return "".join(shapes)


def _svg(height: int, shapes: Sequence[str]) -> str:
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(shapes)}</svg>'
