"""Other people's cocotb projects: pytest files with ``cocotb_tools.runner`` or cocotb-test.

Only running such a file tells what it gives to the simulator, so pytest runs it: in a child, with
stand-ins that note what they are called with (`labctl.fpga.inside.labctl_collect`). No simulator
starts. Each test function is a core, each set of its arguments a set of parameters.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from labctl.fpga.model import Core, Problem
from labctl.fpga.programs import run_bounded
from labctl.fpga.readers.recorded import cores_of
from labctl.fpga.toolchain import environment
from labctl.inventory.diagnostics import shown_path
from labctl.report.sanitize import clean_line

ORDER, ALONE = 1, False
_NAMES = re.compile(r"test_.*\.py|.*_test\.py")
_MENTION = re.compile(rb"\bcocotb_test\b|\bcocotb_tools\b|\bcocotb\.runner\b")
_RUNNERS = ("cocotb_test", "cocotb_tools.runner", "cocotb.runner")
_INSIDE = Path(__file__).parent.parent / "inside"
# Of the files of one folder together; hundreds of sets of parameters take seconds.
_DEADLINE_S = 120.0
_MAX_SOURCE = 1024 * 1024
_MAX_RECORDS = 64 * 1024 * 1024
_MAX_MESSAGES = 3


def claims(folder: Path, names: Collection[str]) -> list[str]:
    """Return the pytest files that import a runner of cocotb; others must not be run."""
    return [name for name in names if _NAMES.fullmatch(name) and _imports_runner(folder / name)]


def _imports_runner(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            text = stream.read(_MAX_SOURCE)
        if not _MENTION.search(text):
            return False
        tree = ast.parse(text)
    except OSError:
        return False
    except (SyntaxError, ValueError, RecursionError):
        return True  # pytest will say what is wrong with it
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        if any(f"{one}.".startswith(f"{runner}.") for one in modules for runner in _RUNNERS):
            return True
    return False


def read_all(root: Path, paths: Sequence[Path], simulator: str) -> Iterator[Core | Problem]:
    """Yield what the pytest files ``paths`` would run."""
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        # A child for each folder: two files of the same name do not meet in one.
        for found in pool.map(lambda files: list(_read(root, files, simulator)), folders.values()):
            yield from found


def _read(root: Path, files: list[Path], simulator: str) -> Iterator[Core | Problem]:
    with tempfile.TemporaryDirectory(prefix="labctl-pytest-") as name:
        records, why = _run_pytest(root, files, Path(name), simulator)
    recorded = [one for one in records if "options" in one]
    seen = {one["file"] for one in recorded}
    for path in files:
        if str(path) in seen:
            continue
        node = os.path.relpath(path, root)
        said = [one["trouble"] for one in records if str(one.get("node", "")).startswith(node)]
        some = "; ".join(clean_line(text) for text in dict.fromkeys(said[:_MAX_MESSAGES]))
        if some or why:
            yield Problem(
                path, f"{shown_path(path)}: pytest does not come to run it: {some or why}"
            )
    yield from cores_of(root, recorded)


def _run_pytest(
    root: Path, files: list[Path], scratch: Path, simulator: str
) -> tuple[list[dict[str, Any]], str]:
    """Return what the stand-ins noted; and why pytest itself failed."""
    notes = scratch / "records"
    notes.touch()
    here = environment()
    path = [str(_INSIDE), *filter(None, here.get("PYTHONPATH", "").split(os.pathsep))]
    given = {
        **here,
        "SIM": simulator,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "LABCTL_RECORDS": str(notes),
    }
    given.pop("WAVES", None)
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "labctl_collect", "-p", "no:cacheprovider",
        "--continue-on-collection-errors",
        # Their options ask for plug-ins that have no part in this, such as -n of xdist.
        "-o", "addopts=", "-o", "required_plugins=", f"--rootdir={root}", *map(str, files),
    ]  # fmt: skip
    code, output = run_bounded(command, cwd=root, deadline_s=_DEADLINE_S, env=given)
    why = ""
    if code is None:
        why = f"it does not come to an end in {_DEADLINE_S:.0f} s"
    elif code not in (0, 1, 2, 5):  # passed, failed, errors of collection, nothing collected
        lines = [one for one in output.decode(errors="replace").splitlines() if one.strip()]
        why = clean_line(lines[-1]) if lines else f"pytest ended with exit code {code}"
    found = []
    with notes.open("rb") as stream:
        for line in stream.read(_MAX_RECORDS).splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue  # half written at the deadline
    return [one for one in found if isinstance(one, dict)], why
