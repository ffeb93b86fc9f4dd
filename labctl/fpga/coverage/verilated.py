r"""Lines and branches that ran, as Verilator's own file ``coverage.dat`` tells of them.

The file is read itself and not what ``verilator_coverage --annotate`` makes of it, which has the
lines but neither the branches nor the files apart.

Source of the format: Verilator's ``include/verilated_cov.cpp`` and ``verilated_cov_key.h``: after
the first line, each line is ``C '`` key/value pairs ``' count``; a pair is \\x01 key \\x02 value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from labctl.fpga.coverage.model import Hits
from labctl.report.sanitize import clean_line

_POINT = re.compile(r"^C '(?P<pairs>.*)' (?P<count>\d+)$")
_MAX_BYTES = 256 * 1024 * 1024
_KINDS = {"v_line": "line", "v_branch": "branch"}


def of_run(path: Path, base: Path) -> list[Hits]:
    """Return which lines and branches ran, in files named relative to ``base``."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return []
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return points(text.splitlines(), base)


def points(lines: Iterable[str], base: Path) -> list[Hits]:
    """Return the points in the lines of such a file, those of one file and kind together."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for line in lines:
        matched = _POINT.match(line)
        if matched is None:
            continue
        told = dict(pair.partition("\x02")[::2] for pair in matched["pairs"].split("\x01") if pair)
        kind = _KINDS.get(told.get("page", "").partition("/")[0])
        file = told.get("f", "")
        if kind is None or not file:
            continue
        scope = clean_line(os.path.relpath(base / file, base))
        counts = found.setdefault((kind, scope), {})
        for name in _names(kind, told):
            counts[name] = counts.get(name, 0) + int(matched["count"])
    # How often is known, but not worth keeping for each run: code counts the runs that reach it.
    return [
        Hits(
            kind,
            scope,
            list(counts),
            sum(1 << at for at, name in enumerate(counts) if counts[name]),
        )
        for (kind, scope), counts in found.items()
    ]


def _names(kind: str, told: dict[str, str]) -> list[str]:
    if kind == "branch":
        what = clean_line(told.get("o", "branch"))
        return [f"{told.get('l', '0')}:{told.get('n', '0')} {what}"]
    names = []
    # "S" has all lines of the block, such as 12-14,17; "l" only the first.
    for part in (told.get("S") or told.get("l", "")).split(","):
        first, dash, last = part.partition("-")
        if first.isdecimal() and (not dash or last.isdecimal()):
            end = int(last) if dash else int(first)
            names += [str(one) for one in range(int(first), min(end, int(first) + 10_000) + 1)]
    return names
