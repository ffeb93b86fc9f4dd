"""Waves of the last of a run, replayed by a copy of the simulator; whether they are its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from labctl.fpga.build import WAVES_FILE
from labctl.fpga.engines.base import RESULTS_FILE
from labctl.fpga.inside.labctl_checkpoints import FOLDER
from labctl.fpga.results import Case, JobResult, read_cases


def waves_of_last(result: JobResult, folder: Path) -> Path | None:
    """Return the waves of the last of a job; None where there are none, or of another failure.

    The copy that replayed has told of its tests, as the job has: the failure has to be the same,
    at the same simulated time. Otherwise what it recorded is taken away.
    """
    place = folder / FOLDER
    if not place.is_dir():
        return None
    waves = place / WAVES_FILE
    cases, _ = read_cases(place / RESULTS_FILE)
    first = _first_failure(result.cases)
    again = _first_failure(cases)
    if result.status == "failed" and waves.is_file() and first is not None and first == again:
        return waves
    shutil.rmtree(place, ignore_errors=True)
    return None


def _first_failure(cases: tuple[Case, ...]) -> tuple[str, str, float] | None:
    found = (one for one in cases if one.status == "failed")
    return next(((one.name, one.message, one.sim_ns) for one in found), None)
