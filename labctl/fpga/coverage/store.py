"""Coverage in files, and for people and programs to look at."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from labctl.errors import UsageError
from labctl.fileio import write_atomic
from labctl.fpga.coverage.model import CoverageData
from labctl.fpga.coverage.smallest import needed_runs
from labctl.inventory.diagnostics import shown_path
from labctl.report.jsondoc import document

_SCHEMA, _VERSION = "fpga-coverage", 1
_MAX_BYTES = 1024 * 1024 * 1024


def save(path: Path, data: CoverageData) -> None:
    """Write ``data`` to ``path``; equal coverage gives equal files.

    Raises:
        OSError: It cannot be written.
    """
    write_atomic(path, document(_SCHEMA, _VERSION, data.as_data()).encode(), mode=0o644)


def load(paths: Iterable[Path]) -> CoverageData:
    """Return the coverage of all files together.

    Raises:
        UsageError: One cannot be read, or is something else.
    """
    found = CoverageData()
    for path in paths:
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise ValueError("it is too large")
            said = json.loads(path.read_bytes())
            if not isinstance(said, dict) or said.get("schema") != f"labctl.{_SCHEMA}/{_VERSION}":
                raise ValueError(f"it is no labctl.{_SCHEMA}/{_VERSION}")
            found.merge(CoverageData.of_data(said))
        except (OSError, ValueError, RecursionError) as error:
            cause = error.strerror if isinstance(error, OSError) else f"not coverage: {error}"
            raise UsageError(
                cause or str(error),
                thing=shown_path(path),
                action="name files that 'labctl fpga test --coverage' wrote",
            ) from None
    return found


def shown(data: CoverageData) -> dict[str, Any]:
    """Return what there is to say of ``data``, for a report.

    ``scopes`` has kind, name, how many points were reached, of how many, and which were not;
    ``needed`` the runs that reach all that was reached, with what each adds; ``idle`` the others.
    """
    needed = needed_runs(data)
    chosen = {run for run, _ in needed}
    return {
        "scopes": [
            {
                "kind": one.kind,
                "scope": one.scope,
                "covered": one.covered,
                "total": one.total,
                "missing": one.missing,
            }
            for one in data.summaries()
        ],
        "needed": [{"run": run, "adds": adds} for run, adds in needed],
        "idle": [run for run in data.runs if run not in chosen],
    }
