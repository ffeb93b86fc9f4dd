r"""Lines and branches that ran, as Verilator's own file ``coverage.dat`` tells of them.

The file is read itself and not what ``verilator_coverage --annotate`` makes of it, which has the
lines but neither the branches nor the files apart.

Source of the format: Verilator's ``include/verilated_cov.cpp`` and ``verilated_cov_key.h``: after
the first line, each line is ``C '`` key/value pairs ``' count``; a pair is \\x01 key \\x02 value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from labctl.fpga.coverage.model import Hits
from labctl.fpga.model import Core
from labctl.report.sanitize import clean_line

_POINT = re.compile(r"^C '(?P<pairs>.*)' (?P<count>\d+)$")
_MAX_BYTES = 256 * 1024 * 1024
# Longer than any block that somebody wrote.
_MAX_LINES = 10_000


def of_run(path: Path, core: Core) -> list[Hits]:
    """Return which lines and branches ran, by the files of ``core``."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return []
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return reached(text.splitlines(), core)


def reached(lines: Iterable[str], core: Core) -> list[Hits]:
    """Return what the lines of such a file say: lines and branches of each file."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for line in lines:
        matched = _POINT.match(line)
        if matched is None:
            continue
        told = dict(pair.partition("\x02")[::2] for pair in matched["pairs"].split("\x01") if pair)
        page, file = told.get("page", "").partition("/")[0], told.get("f", "")
        if page not in ("v_line", "v_branch") or not file:
            continue
        folder = core.path.parent.absolute()
        scope = clean_line(f"{core.name}/{os.path.relpath(folder / file, folder)}")
        count = int(matched["count"])
        for number in _lines(told):
            _add(found, ("line", scope), str(number), count)
        if page == "v_branch":
            where = f"{told.get('l', '0')}:{told.get('n', '0')}"
            _add(found, ("branch", scope), clean_line(f"{where} {told.get('o', '')}"), count)
    # How often is known, but not worth keeping for each run: code counts the runs that reach it.
    return [
        Hits(kind, scope, list(counts), sum(1 << at for at, n in enumerate(counts.values()) if n))
        for (kind, scope), counts in found.items()
    ]


def _add(
    found: dict[tuple[str, str], dict[str, int]], scope: tuple[str, str], point: str, count: int
) -> None:
    counts = found.setdefault(scope, {})
    counts[point] = counts.get(point, 0) + count


def _lines(told: dict[str, str]) -> Iterator[int]:
    """Yield the lines of a block, which it has as ``12-14,17``."""
    for part in told.get("S", "").split(","):
        first, dash, last = part.partition("-")
        if first.isdecimal() and (not dash or last.isdecimal()):
            end = int(last) if dash else int(first)
            yield from range(int(first), min(end, int(first) + _MAX_LINES) + 1)
