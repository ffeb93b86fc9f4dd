"""The end of a recording as a picture: SVG that stands in a page, with nothing loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

from labctl.fpga.waves.chosen import Chosen
from labctl.fpga.waves.model import Signal, Trace

_ROW, _HIGH, _NAMES, _WIDTH, _TOP = 22, 14, 190, 760, 20
_CHAR = 6.3  # width of a character of the font below, pixels
_MAX_ROWS = 32
_UNITS = ((1e-15, "fs"), (1e-12, "ps"), (1e-9, "ns"), (1e-6, "us"), (1e-3, "ms"), (1.0, "s"))


def draw(chosen: Chosen) -> str:
    """Return the picture of the last cycles."""
    signals = chosen.signals[:_MAX_ROWS]
    span = max(1, chosen.end - chosen.start)
    # The last values hold at one moment only; room is left to see them.
    until = chosen.end + max(1, span // 24)

    def across(time: float) -> float:
        return _NAMES + (time - chosen.start) / (until - chosen.start) * _WIDTH

    height = _TOP + len(signals) * _ROW + 6
    parts = [
        f'<svg class="waves" viewBox="0 0 {_NAMES + _WIDTH + 8} {height}" role="img" '
        f'aria-label="waves of the last cycles">'
    ]
    parts += _ruler(chosen, height, across)
    titles = {one.name: group.title for group in chosen.groups for one in group.signals}
    for row, signal in enumerate(signals):
        base = _TOP + row * _ROW + _HIGH + 2
        name = _shortened(f"{_local(signal, signals)}{signal.range}")
        parts.append(
            f'<text x="{_NAMES - 8}" y="{base - 3}" class="name">'
            f"<title>{escape(signal.name)}: {escape(titles[signal.name])}</title>"
            f"{escape(name)}</text>"
        )
        trace = chosen.traces[signal.name]
        pieces = list(_pieces(trace, chosen.start, until, across))
        parts += _bit(pieces, base) if signal.bits == 1 else _bus(pieces, base, signal.bits)
    return "".join([*parts, "</svg>"])


def _local(signal: Signal, signals: list[Signal]) -> str:
    """Return the name without the scope that all have."""
    tops = {one.name.split(".")[0] for one in signals}
    return signal.name.partition(".")[2] if len(tops) == 1 else signal.name


def _shortened(name: str) -> str:
    limit = int((_NAMES - 12) / _CHAR)
    return name if len(name) <= limit else f"…{name[-limit + 1 :]}"


def _ruler(chosen: Chosen, height: int, across: Callable[[float], float]) -> Iterator[str]:
    last = across(chosen.end)
    yield _upright(last, height, "end")
    for part in range(4):
        time = chosen.start + (chosen.end - chosen.start) * part // 4
        place = across(time)
        yield _upright(place, height, "tick")
        yield f'<text x="{place + 2:.1f}" y="10">{time_text(time * chosen.unit_s)}</text>'
    text = time_text(chosen.end * chosen.unit_s)
    yield f'<text x="{last - 2:.1f}" y="10" class="last">{text}</text>'


def _upright(place: float, height: int, kind: str) -> str:
    ends = f'x1="{place:.1f}" y1="{_TOP - 4}" x2="{place:.1f}" y2="{height}"'
    return f'<line {ends} class="{kind}"/>'


def _pieces(
    trace: Trace, start: int, until: int, across: Callable[[float], float]
) -> Iterator[tuple[float, float, str]]:
    ends = [*trace.times[1:], until]
    for begin, end, value in zip(trace.times, ends, trace.values, strict=True):
        if end > start:
            yield across(max(begin, start)), across(end), value


def _bit(pieces: list[tuple[float, float, str]], base: int) -> Iterator[str]:
    levels = {"0": base, "1": base - _HIGH}
    path: list[str] = []
    unknown: list[tuple[float, float, str]] = []
    for left, right, value in pieces:
        level = levels.get(value)
        if level is None:
            unknown.append((left, right, value))
            level = base - _HIGH // 2
        path.append(f"{'L' if path else 'M'}{left:.1f} {level}H{right:.1f}")
    yield f'<path d="{"".join(path)}" class="bit"/>'
    for left, right, value in unknown:
        yield (
            f'<rect x="{left:.1f}" y="{base - _HIGH}" width="{right - left:.1f}" '
            f'height="{_HIGH}" class="{"z" if value == "z" else "x"}"/>'
        )


def _bus(pieces: list[tuple[float, float, str]], base: int, bits: int) -> Iterator[str]:
    top, middle = base - _HIGH, base - _HIGH / 2
    for left, right, value in pieces:
        lean = min(3.0, (right - left) / 2)
        kind = "z" if set(value) == {"z"} else "x" if set(value) & set("xz") else "bus"
        yield (
            f'<path d="M{left:.1f} {middle}L{left + lean:.1f} {top}H{right - lean:.1f}'
            f'L{right:.1f} {middle}L{right - lean:.1f} {base}H{left + lean:.1f}Z" class="{kind}"/>'
        )
        text = hexadecimal(value, bits)
        if len(text) * _CHAR >= right - left - 4:
            text = text.lstrip("0") or "0"
        if len(text) * _CHAR < right - left - 4:
            yield f'<text x="{(left + right) / 2:.1f}" y="{base - 3}" class="value">{text}</text>'


def hexadecimal(value: str, bits: int) -> str:
    """Return a value of ``bits`` bits in hexadecimal; a digit that is not known is x or z."""
    padded = value.rjust((bits + 3) // 4 * 4, "0")
    digits = []
    for at in range(0, len(padded), 4):
        four = padded[at : at + 4]
        if set(four) <= {"0", "1"}:
            digits.append(format(int(four, 2), "x"))
        else:
            digits.append("z" if set(four.lstrip("0") or four) == {"z"} else "x")
    return "".join(digits)


def time_text(seconds: float) -> str:
    """Return a time with the unit in which it is short: ``425.395 us``."""
    size, unit = _UNITS[0]
    for size_, unit_ in _UNITS:
        if seconds >= size_ * 0.9999:
            size, unit = size_, unit_
    return f"{seconds / size:.6g} {unit}"
