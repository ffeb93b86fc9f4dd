"""Which bits of which signals rose and fell in a run, from its Value Change Dump.

Source of the format: IEEE 1364-2005, 18.2. Memories are not in it, because simulators do not dump
them; parameters, integers and reals are no signals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from labctl.fpga.coverage.model import Hits
from labctl.fpga.model import Core, Variant
from labctl.report.sanitize import clean_line

# Kinds of variables that are hardware: 18.2.3.8, and `logic` of SystemVerilog.
_SIGNALS = {
    b"reg", b"wire", b"logic", b"supply0", b"supply1", b"tri", b"tri0", b"tri1", b"triand",
    b"trior", b"trireg", b"wand", b"wor",
}  # fmt: skip
_KNOWN = bytes.maketrans(b"01xXzZuUwWlLhH-", b"110000000000000")
_ONES = bytes.maketrans(b"01xXzZuUwWlLhH-", b"010000000000000")
# Wider ones, such as a memory as one vector, are left out; they would be most of the points.
_MAX_WIDTH = 4096
_MAX_BYTES = 256 * 1024 * 1024
# Name, leftmost and rightmost index (both None for one bit without an index), width.
_Signal = tuple[str, int | None, int | None, int]


class _Variable:
    """The bits of one variable: what they were, which rose, which fell."""

    __slots__ = ("all", "fell", "known", "ones", "rose", "width")

    def __init__(self, width: int) -> None:
        self.width = width
        self.all = (1 << width) - 1
        self.known = self.ones = self.rose = self.fell = 0

    def take(self, text: bytes) -> bool:
        """Take a new value; tell whether there is nothing more to learn of this variable."""
        if len(text) < self.width:
            # 18.2.2: extended by 0 on the left, by x and z where those are leftmost.
            fill = b"0" if text[:1] in b"01" else text[:1]
            text = fill * (self.width - len(text)) + text
        known, ones = int(text.translate(_KNOWN), 2), int(text.translate(_ONES), 2)
        both = self.known & known
        self.rose |= both & ~self.ones & ones
        self.fell |= both & self.ones & ~ones
        self.known, self.ones = known, ones
        return self.rose == self.all == self.fell


def of_run(path: Path, core: Core, variant: Variant) -> list[Hits]:
    """Return which bits toggled in the run that left the dump ``path``.

    Nothing of a dump that is damaged, or so large that reading it takes minutes.
    """
    name = f"{core.name}:{variant.name}" if variant.name else core.name
    try:
        if path.stat().st_size > _MAX_BYTES:
            return []
        with path.open("rb") as stream:
            return [toggled(stream, name)]
    except (OSError, ValueError, IndexError):
        return []


def toggled(lines: Iterable[bytes], scope: str) -> Hits:
    """Return which bits toggled in a dump; a dump that ends early counts as far as it goes.

    Raises:
        ValueError: It is no Value Change Dump.
        IndexError: Likewise.
    """
    stream = iter(lines)
    signals, variables = _declared(stream)
    live = dict(variables)
    for line in stream:
        first = line[:1]
        if first in b"01xXzZ":
            value, code = first, line[1:].strip()
        elif first in b"bB":
            value, _, code = line[1:].partition(b" ")
            code = code.strip()
        else:
            continue  # times, reals, keywords
        variable = live.get(code)
        if variable is not None and line.endswith(b"\n") and variable.take(value):
            del live[code]
    mask, at = 0, 0
    for code, one in signals:
        variable, width = variables[code], one[3]
        mask |= (variable.rose | variable.fell << width) << at
        at += 2 * width
    return Hits("toggle", scope, _points(tuple(one for _, one in signals)), mask)


def _declared(
    stream: Iterator[bytes],
) -> tuple[list[tuple[bytes, _Signal]], dict[bytes, _Variable]]:
    """Read the declarations; return the signals with their codes, and a variable for each code."""
    signals: list[tuple[bytes, _Signal]] = []
    variables: dict[bytes, _Variable] = {}
    scopes: list[str] = []
    for words in _commands(stream):
        if words[0] == b"$scope":
            scopes.append(clean_line(words[2]))
        elif words[0] == b"$upscope":
            del scopes[-1:]
        elif words[0] == b"$var" and words[1] in _SIGNALS and int(words[2]) <= _MAX_WIDTH:
            width, code = int(words[2]), words[3]
            text = clean_line(b"".join(words[4:]))
            name, _, ends = text.partition("[") if not text.startswith("\\") else (text, "", "")
            # The first scope is the top itself.
            full = ".".join((*scopes[1:], name))
            left, _, right = ends.removesuffix("]").partition(":")
            first = int(left) if left else (None if width == 1 else width - 1)
            last = int(right) if right else (first if width == 1 else 0)
            signals.append((code, (full, first, last, width)))
            variables.setdefault(code, _Variable(width))
            if variables[code].width != width:
                raise ValueError(f"two widths of {text}")
    # Two names for one signal are two signals; one name that is there twice is one.
    unique = {one: code for code, one in reversed(signals)}
    return [(code, one) for one, code in sorted(unique.items(), key=_order)], variables


def _order(item: tuple[_Signal, bytes]) -> tuple[str, int, int, int]:
    name, first, last, width = item[0]
    return name, first or 0, last or 0, width


def _commands(stream: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Yield the commands up to the end of the declarations, each as its words without $end."""
    words: list[bytes] = []
    for line in stream:
        for word in line.split():
            if word != b"$end":
                words.append(word)
                continue
            if words[:1] == [b"$enddefinitions"]:
                return
            if words:
                yield words
            words = []
        if len(words) > 10_000:
            break
    raise ValueError("it is no Value Change Dump")


@lru_cache(maxsize=64)
def _points(signals: tuple[_Signal, ...]) -> tuple[str, ...]:
    """Return the names of the points, in the order of the bits: least significant first."""
    found = []
    for name, first, last, width in signals:
        if first is None or last is None:
            bits = [name]
        else:
            step = 1 if first >= last else -1
            bits = [f"{name}[{last + step * at}]" for at in range(width)]
        found += [f"{bit} {way}" for way in ("rises", "falls") for bit in bits]
    return tuple(found)
