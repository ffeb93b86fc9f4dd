"""Bins that a testbench counted: `labctl.fpga.tb.Coverage` leaves them in the folder of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from labctl.fpga.coverage.model import Hits
from labctl.report.sanitize import clean_line

FOLDER = "coverage"
# Of one file: more is no coverage that somebody looks at.
_MAX_BYTES = 16 * 1024 * 1024


def of_run(folder: Path, core: str) -> Iterator[Hits]:
    """Yield what a run of ``core`` in ``folder`` left; what is damaged is as good as not there."""
    for path in sorted((folder / FOLDER).glob("*.json")):
        try:
            if path.stat().st_size > _MAX_BYTES:
                continue
            points = json.loads(path.read_text(encoding="utf-8"))
            counts = {
                clean_line(f"{point}={one}"): int(count)
                for point, bins in points.items()
                for one, count in bins.items()
            }
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            continue
        if counts:
            yield Hits.of_counts("functional", f"{core}/{clean_line(path.stem)}", counts)
