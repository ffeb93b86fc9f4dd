"""Find the cores of a folder by reading its files; no simulator is started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from labctl.errors import UsageError
from labctl.fpga.model import Core, Problem, Project
from labctl.fpga.readers import core_file
from labctl.inventory.diagnostics import InventoryError, shown_path

# Folders that hold no sources of the project, or copies of them.
_SKIPPED = {"node_modules", "sim_build", "__pycache__", "build", "dist", "site-packages"}
# Deeper than any project seen; a loop of links ends here at the latest.
_MAX_DEPTH = 12


def discover(root: Path) -> Project:
    """Return the project in ``root``.

    Raises:
        UsageError: There is no such folder, or nothing in it can be verified.
    """
    if not root.is_dir():
        raise UsageError("there is no such folder", thing=shown_path(root))
    root = root.absolute()
    cores: list[Core] = []
    problems: list[Problem] = []
    for path in _files(root):
        try:
            cores.append(core_file.read_core(path))
        except InventoryError as error:
            problems.append(Problem(path, str(error)))
    if not cores and not problems:
        raise UsageError(
            f"no {core_file.FILE_NAME} in it",
            thing=shown_path(root),
            action="name the folder of a project with 'labctl fpga … --project FOLDER'",
        )
    return Project(root, tuple(_named_apart(root, cores)), tuple(problems))


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        folders[:] = sorted(
            one for one in folders
            if depth < _MAX_DEPTH and one not in _SKIPPED and not one.startswith(".")
        )  # fmt: skip
        if core_file.FILE_NAME in files:
            yield Path(folder, core_file.FILE_NAME)


def _named_apart(root: Path, cores: list[Core]) -> Iterator[Core]:
    """Yield the cores with names that differ: where two are the same, they are the folders'."""
    names = [core.name for core in cores]
    for core in cores:
        if names.count(core.name) > 1:
            yield replace(core, name=str(core.path.parent.relative_to(root)))
        else:
            yield core
