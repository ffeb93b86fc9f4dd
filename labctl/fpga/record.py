"""What is kept of a regression besides logs and waves: one JSON file in its folder."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl.errors import UsageError
from labctl.fileio import write_atomic
from labctl.fpga.store import runs_dir
from labctl.inventory.diagnostics import quote

if TYPE_CHECKING:
    from labctl.fpga.model import Core, Project
    from labctl.fpga.regression import Outcome
    from labctl.fpga.results import JobResult

RECORD_FILE = "run.json"
JUNIT_FILE = "junit.xml"
_GIT_S = 5.0


@dataclass(frozen=True)
class About:
    """Where and of what a regression was.

    Attributes:
        time: When it began, seconds since 1970.
        host: The machine.
        project: Name of the project: that of its repository, and the folder in it.
        commit: What was checked out, with ``+`` where files differ from it; empty outside of git.
    """

    time: float
    host: str
    project: str
    commit: str


def project_name(root: Path) -> str:
    """Return the name of the project in ``root``: that of its repository and the folder in it."""
    inside = root.resolve()
    for top in (inside, *inside.parents):
        if (top / ".git").exists():
            return "/".join((top.name, *inside.relative_to(top).parts))
    return inside.name or "/"


@contextlib.contextmanager
def asked(root: Path) -> Iterator[Callable[[], About]]:
    """Give what tells where and of what a regression of the project in ``root`` is, that begins.

    git is asked meanwhile, so that nobody waits for it.
    """
    began, name = time.time(), project_name(root)
    with ThreadPoolExecutor(1) as pool:
        commit = pool.submit(_commit, root)
        yield lambda: About(began, socket.gethostname(), name, commit.result())


def _commit(root: Path) -> str:
    script = "git rev-parse HEAD && git status --porcelain --untracked-files=no ."
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", script], cwd=root, capture_output=True, text=True, timeout=_GIT_S,
            errors="replace", check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = done.stdout.splitlines()
    return lines[0][:12] + "+" * (len(lines) > 1) if done.returncode == 0 and lines else ""


def summary(outcome: Outcome) -> dict[str, Any]:
    """Return how many runs have which status, and how long all took."""
    return {**outcome.counts, "seconds": round(outcome.seconds, 3)}


def job_data(result: JobResult, repro: Callable[[str], str]) -> dict[str, Any]:
    """Return ``result`` for a JSON document.

    Args:
        result: What came of a run.
        repro: Returns the command that does a run again, from its name.
    """
    unit = result.job.unit
    return {
        "id": result.job.name,
        "core": unit.core.name,
        "variant": unit.variant.name,
        "parameters": dict(unit.variant.parameters),
        "test": unit.test.label,
        "seed": result.job.seed,
        "simulator": unit.core.simulators[0],
        "status": result.status,
        "message": result.message,
        "seconds": round(result.seconds, 4),
        "sim_ns": result.sim_ns,
        "repro": repro(result.job.name),
        "folder": str(result.folder) if result.folder else None,
        "waves": str(result.waves) if result.waves else None,
        "cases": [
            {
                "name": case.name,
                "status": case.status,
                "message": case.message,
                "seconds": case.seconds,
                "sim_ns": case.sim_ns,
            }
            for case in result.cases
        ],
    }


def run_data(
    outcome: Outcome,
    project: Project,
    where: About,
    repro: Callable[[str], str],
    *,
    base: int,
    seeds: int,
    folder: Path,
) -> dict[str, Any]:
    """Return all of a regression for a JSON document: see docs/json.md, ``labctl.fpga-test``."""
    return {
        "summary": summary(outcome),
        "seed": base,
        "seeds": seeds,
        "compiled": outcome.compiled,
        "reused": outcome.reused,
        "folder": str(folder),
        "time": round(where.time, 3),
        "host": where.host,
        "project": where.project,
        "root": str(project.root.resolve()),
        "commit": where.commit,
        "notes": list(outcome.notes),
        "cores": _cores(outcome),
        "coverage": None,
        "failures": [[one.job.name for one in some] for some in outcome.failures],
        "jobs": [job_data(one, repro) for one in outcome.results],
        "problems": [{"file": str(one.path), "message": one.message} for one in project.problems],
    }


def _cores(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """Return what a picture of waves needs to know of the cores."""
    cores = {one.job.unit.core.name: one.job.unit.core for one in outcome.results}
    return {
        name: {"top": core.top, "sources": [str(one.absolute()) for one in core.sources]}
        for name, core in cores.items()
    }


def save(folder: Path, data: Mapping[str, object]) -> None:
    """Keep ``data`` in the folder of a run.

    Raises:
        OSError: It cannot be written.
    """
    write_atomic(folder / RECORD_FILE, json.dumps(data))


def load(name: str | None = None) -> dict[str, Any]:
    """Return what was kept of the run ``name`` (its folder, or the name of that), or of the last.

    Raises:
        UsageError: There is none.
    """
    if name is None:
        places: Sequence[Path] = sorted(runs_dir().glob(f"*/{RECORD_FILE}"), reverse=True)
    else:
        places = [runs_dir() / name / RECORD_FILE]  # an absolute path stays what it is
    for place in places:
        try:
            data = json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(data, dict):
            return data
    raise UsageError(
        "no regression has ended here yet" if name is None else f"there is no run {quote(name)}",
        thing=str(runs_dir()),
        action="run 'labctl fpga test' first",
    )


def kept_waves(root: Path, name: str) -> tuple[Path, Mapping[str, Any]] | None:
    """Return the newest waves that were kept of the run ``name`` of the project in ``root``.

    With what was told of the run.
    """
    for place in sorted(runs_dir().glob(f"*/{RECORD_FILE}"), reverse=True):
        try:
            data = json.loads(place.read_text(encoding="utf-8"))
            if data["root"] != str(root.resolve()):
                continue
            found = next(one for one in data["jobs"] if one["id"] == name)
        except (OSError, ValueError, KeyError, StopIteration):
            continue
        if found.get("waves") and Path(found["waves"]).is_file():
            return Path(found["waves"]), found
    return None


def is_newer(path: Path, core: Core) -> bool:
    """Tell whether the file ``path`` is newer than all that ``core`` and its tests are made of."""
    folders = [*core.python, *core.include, core.path.parent]
    beside = [one for folder in folders if folder.is_dir() for one in folder.iterdir()]
    files = [core.path, *core.sources, *(one for one in beside if one.is_file())]
    try:
        made = path.stat().st_mtime
        return all(one.stat().st_mtime < made for one in files)
    except OSError:
        return False
