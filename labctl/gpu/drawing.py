"""The pictures of a report, as SVG: nothing but shapes and text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape

from labctl.gpu.course import Course, Stretch
from labctl.gpu.rollup import HOUR_S
from labctl.gpu.state import State

# Told apart in grey, too, by their lightness and by what is written beside.
COLOURS = {
    State.FREE: "#e8f5e9",
    State.BUSY: "#1565c0",
    State.IDLE_HELD: "#f9a825",
    State.GHOST: "#8e24aa",
    State.BOOKED: "#90caf9",
    State.SICK: "#c62828",
    State.UNKNOWN: "#9e9e9e",
}
_LABEL, _WIDTH, _ROW = 140, 960, 14
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def day(moment: int) -> str:
    """Return a moment in words of this machine's zone."""
    return datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M")


def key() -> str:
    """Return what the colours of the map mean."""
    items = "".join(
        f'<span><i style="background:{colour}"></i>{state}</span>'
        for state, colour in COLOURS.items()
    )
    return f'<p class="key">{items}<span><i></i>not recorded</span></p>'


def week(course: Course) -> str:
    """Return a row for each unit, its stretches in the colours of their states."""
    frame = _Frame(course.map_since, course.until)
    height = len(course.map) * _ROW + 20
    shapes = [_ticks(frame, height)]
    for row, ((host, name), stretches) in enumerate(course.map.items()):
        top = row * _ROW
        unit = f"{host} {name}"
        shapes.append(f'<text x="0" y="{top + 10}">{escape(_short(unit))}</text>')
        shapes += (_cell(frame, top, unit, stretch) for stretch in stretches)
    return _svg(height, shapes)


def _cell(frame: _Frame, top: int, unit: str, stretch: Stretch) -> str:
    left = frame.at(stretch.start)
    width = frame.at(min(stretch.end, frame.until)) - left
    colour = COLOURS.get(State(stretch.state), "#9e9e9e")
    load = "" if stretch.load is None else f", {stretch.load:.0f} %"
    title = f"{unit}, {day(stretch.start)}, {stretch.hours} h: {stretch.state}{load}"
    return (
        f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_ROW - 2}" '
        f'fill="{colour}"><title>{escape(title)}</title></rect>'
    )


def usual_week(course: Course) -> str:
    """Return the heat map: a row for each weekday, a cell for each hour of the day."""
    width = (_WIDTH - _LABEL) / 24
    row_height = 20
    shapes = []
    for weekday, hours in enumerate(course.usual):
        top = weekday * row_height
        shapes.append(f'<text x="0" y="{top + 14}">{_DAYS[weekday]}</text>')
        for hour, share in enumerate(hours):
            if share is None:
                continue
            left = _LABEL + hour * width
            # The darker the more; the number beside is for those who print in grey.
            colour, text = (
                f"hsl(212, 80%, {95 - 55 * share:.0f}%)",
                "#fff" if share > 0.6 else "#333",
            )
            shapes.append(
                f'<rect x="{left:.1f}" y="{top}" width="{width - 1:.1f}" height="{row_height - 1}" '
                f'fill="{colour}"/><text class="m" x="{left + width / 2:.1f}" y="{top + 14}" '
                f'style="fill:{text}">{share * 100:.0f}</text>'
            )
    height = 7 * row_height + 16
    for hour in range(0, 24, 3):
        middle = _LABEL + (hour + 0.5) * width
        shapes.append(f'<text class="m" x="{middle:.1f}" y="{height - 4}">{hour}</text>')
    return _svg(height, shapes)


def lines(course: Course) -> str:
    """Return the mean load of all cards of each host over time."""
    frame = _Frame(course.since // course.step * course.step, course.until)
    tall, shapes = 60, []
    for row, (host, points) in enumerate(course.loads.items()):
        top = row * (tall + 10)
        base = top + tall
        shapes.append(f'<text x="0" y="{top + 12}">{escape(_short(host, 16))}</text>')
        shapes.append(f'<text x="{_LABEL - 38}" y="{top + 10}">100 %</text>')
        shapes.append(f'<path d="M{_LABEL} {base}H{_WIDTH}" stroke="#bbb"/>')
        for part in _unbroken(points, course.step):
            marks = " ".join(
                f"{frame.at(min(moment + course.step / 2, frame.until)):.1f},"
                f"{base - min(100.0, load) / 100 * tall:.1f}"
                for moment, load in part
            )
            shapes.append(
                f'<polyline points="{marks}" fill="none" stroke="#1565c0" stroke-linecap="round"/>'
            )
    height = len(course.loads) * (tall + 10) + 20
    return _svg(height, [_ticks(frame, height), *shapes])


def _unbroken(points: Sequence[tuple[int, float]], step: int) -> Iterator[list[tuple[int, float]]]:
    """Yield points that follow each other: where nothing was recorded there is no line."""
    part: list[tuple[int, float]] = []
    for point in points:
        if part and point[0] - part[-1][0] > step:
            yield part
            part = []
        part.append(point)
    if part:
        # A single one is drawn as a dot.
        yield part if len(part) > 1 else part * 2


class _Frame:
    """Where moments lie from left to right."""

    def __init__(self, since: int, until: int) -> None:
        self.since, self.until = since, max(until, since + HOUR_S)
        self.scale = (_WIDTH - _LABEL) / (self.until - self.since)

    def at(self, moment: float) -> float:
        return _LABEL + (moment - self.since) * self.scale


def _ticks(frame: _Frame, height: int) -> str:
    """Return a line and a date at midnights of this machine's zone, at most one in 60 px."""
    shapes, last = [], -60.0
    moment = frame.since // HOUR_S * HOUR_S
    while moment < frame.until:
        left = frame.at(moment)
        if left - last >= 60 and left >= _LABEL and datetime.fromtimestamp(moment).hour == 0:
            last = left
            shapes.append(f'<path d="M{left:.1f} 0V{height - 16}" stroke="#ddd"/>')
            text = datetime.fromtimestamp(moment).strftime("%m-%d")
            shapes.append(f'<text x="{left:.1f}" y="{height - 4}">{text}</text>')
            # On to where the next one has room.
            moment += max(HOUR_S, int(60 / frame.scale) // HOUR_S * HOUR_S)
        else:
            moment += HOUR_S
    return "".join(shapes)


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _svg(height: int, shapes: Sequence[str]) -> str:
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(shapes)}</svg>'
