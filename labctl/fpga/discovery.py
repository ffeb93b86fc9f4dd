"""Find the cores of a folder by reading its files; no simulator is started."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from labctl.errors import UsageError
from labctl.fpga.model import Core, Problem, Project
from labctl.fpga.readers import Found, readers
from labctl.inventory.diagnostics import shown_path

# Folders that hold no sources of the project, or copies of them.
_SKIPPED = {"node_modules", "sim_build", "__pycache__", "build", "dist", "site-packages"}
# Deeper than any project seen; a loop of links ends here at the latest.
_MAX_DEPTH = 12


def discover(root: Path, simulator: str = "icarus") -> Project:
    """Return the project in ``root``.

    Args:
        root: A folder.
        simulator: Whose flags and sources are asked for, in files that differ by simulator.

    Raises:
        UsageError: There is no such folder, or nothing in it can be verified.
    """
    if not root.is_dir():
        raise UsageError("there is no such folder", thing=shown_path(root))
    root = root.absolute()
    kinds = readers()
    claimed: dict[str, list[Path]] = {kind.kind: [] for kind in kinds}
    for folder, names in _folders(root):
        for kind in kinds:
            files = [folder / name for name in kind.claims(folder, names)]
            claimed[kind.kind] += files
            if files and kind.alone:
                break
    cores: list[Core] = []
    problems: list[Problem] = []
    for kind in kinds:
        if claimed[kind.kind]:
            found = kind.read_all(root, claimed[kind.kind], simulator)
            _take(found, cores, problems)
    known = {test.path for core in cores for test in core.tests}
    # What one kind cannot read and another can is no problem.
    problems = [one for one in problems if one.path not in known]
    if not cores and not problems:
        raise UsageError(
            "no core.yaml in it, and no cocotb tests with a Makefile, a runner or a .core file",
            thing=shown_path(root),
            action="name the folder of a project with 'labctl fpga … --project FOLDER'",
        )
    cores.sort(key=lambda core: core.path.parent.parts)
    return Project(root, tuple(_named_apart(root, cores)), tuple(problems))


def _take(some: Iterable[Found], cores: list[Core], problems: list[Problem]) -> None:
    """Take what is found, but no core of which all tests are those of cores of other kinds."""
    known = {test.path for core in cores for test in core.tests}
    for found in some:
        if isinstance(found, Problem):
            problems.append(found)
        # What has a serial line can be bridged, tests or not.
        elif found.serial or not all(test.path in known for test in found.tests):
            cores.append(found)


def _folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    for folder, folders, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        folders[:] = sorted(
            one for one in folders
            if depth < _MAX_DEPTH and one not in _SKIPPED and not one.startswith(".")
        )  # fmt: skip
        yield Path(folder), sorted(files)


def _named_apart(root: Path, cores: list[Core]) -> Iterator[Core]:
    """Yield the cores with names that differ: where two are the same, they are the folders'."""
    taken: dict[str, int] = {}
    names = [core.name for core in cores]
    for core in cores:
        name = core.name
        if names.count(name) > 1:
            folder = core.path.parent.relative_to(root)
            name = str(folder) if folder.parts else root.name
        taken[name] = taken.get(name, 0) + 1
        yield replace(core, name=name if taken[name] == 1 else f"{name}.{taken[name]}")
