"""Find the cores of a folder by reading its files; no simulator is started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from labctl.errors import UsageError
from labctl.fpga.model import Core, Problem, Project
from labctl.fpga.readers import core_file, makefile
from labctl.inventory.diagnostics import shown_path

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
            core = _read(root, path)
        except UsageError as error:
            problems.append(Problem(path, str(error)))
        else:
            cores += [core] if core else []
    if not cores and not problems:
        raise UsageError(
            f"no {core_file.FILE_NAME} and no Makefile of cocotb in it",
            thing=shown_path(root),
            action="name the folder of a project with 'labctl fpga … --project FOLDER'",
        )
    return Project(root, tuple(_named_apart(root, cores)), tuple(problems))


def _read(root: Path, path: Path) -> Core | None:
    if path.name == core_file.FILE_NAME:
        return core_file.read_core(path)
    folder = path.parent.relative_to(root)
    return makefile.read_makefile(path, str(folder) if folder.parts else root.name)


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        folders[:] = sorted(
            one for one in folders
            if depth < _MAX_DEPTH and one not in _SKIPPED and not one.startswith(".")
        )  # fmt: skip
        if core_file.FILE_NAME in files:
            yield Path(folder, core_file.FILE_NAME)
            continue
        # As make chooses: the first of these names.
        name = next((one for one in makefile.FILE_NAMES if one in files), None)
        if name and makefile.concerns_cocotb(Path(folder, name)):
            yield Path(folder, name)


def _named_apart(root: Path, cores: list[Core]) -> Iterator[Core]:
    """Yield the cores with names that differ: where two are the same, they are the folders'."""
    names = [core.name for core in cores]
    for core in cores:
        if names.count(core.name) > 1:
            yield replace(core, name=str(core.path.parent.relative_to(root)))
        else:
            yield core
