"""Files that a design reads while it runs, such as those of ``$readmemh``.

The compiler does not know them. They are found as the text literals in the sources, macros and
parameters that are names of files; others are named under ``data`` in core.yaml. They are a part of
the build: their content is a part of its name, it has copies of them, and a run reads the copies.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from labctl.fpga.model import Core, Variant

FOLDER = "data"
# Comments, and text literals without line breaks: IEEE 1364-2005, 3.3 and 3.6; in VHDL "--".
_TOKEN = re.compile(rb'//[^\n]*|/\*.*?\*/|"((?:[^"\\\n]|\\.)*)"', re.DOTALL)
# What the compiler reads itself, and tells of.
_INCLUDE = re.compile(rb"`include\s*$")
_MAX_SOURCE = 4 * 1024 * 1024
_MAX_NAME = 255


def data_files(core: Core, variant: Variant, more: Iterable[Path] = ()) -> dict[str, Path]:
    """Return the files that a design reads, by the names that it uses.

    Args:
        core: The design.
        variant: Its parameters, which may name files.
        more: Files that were included.
    """
    found: dict[str, Path] = {}
    for path in core.data:
        found[os.path.relpath(path, core.path.parent)] = path
    texts = [*core.defines.values(), *variant.defines.values(), *variant.parameters.values()]
    for text in texts:
        if isinstance(text, str):
            _look(found, text.strip('"'), [core.beside or core.path.parent])
    for source in (*core.sources, *more):
        # Where make is called for a Makefile; otherwise also beside the source.
        places = [core.beside] if core.beside else [core.path.parent, source.parent]
        for name in _literals(source):
            _look(found, name, places)
    return dict(sorted(found.items()))


def _look(found: dict[str, Path], name: str, places: Iterable[Path]) -> None:
    if not name or len(name) > _MAX_NAME or "\0" in name or name in found:
        return
    for place in places:
        path = place / name
        try:
            if path.is_file():
                found[name] = path
                return
        except OSError:
            continue


def _literals(source: Path) -> Iterator[str]:
    try:
        if source.stat().st_size > _MAX_SOURCE:
            return
        text = source.read_bytes()
    except OSError:
        return
    for token in _TOKEN.finditer(text):
        if token[1] and not _INCLUDE.search(text, max(0, token.start() - 40), token.start()):
            yield os.fsdecode(token[1])


def copy_into(folder: Path, files: dict[str, Path]) -> None:
    """Copy ``files`` to where `link_into` looks for them.

    Raises:
        OSError: One cannot be copied.
    """
    for name, path in files.items():
        if _is_below(name):
            target = folder / FOLDER / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def link_into(working: Path, build: Path) -> None:
    """Make the data of the build in the folder ``build`` be in the folder ``working`` of a run."""
    place = build / FOLDER
    if place.is_dir():
        for path in sorted(place.rglob("*")):
            target = working / path.relative_to(place)
            if path.is_file() and not _through_link(working, target.parent):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                target.symlink_to(path)


def _through_link(working: Path, folder: Path) -> bool:
    """Tell whether a folder is somebody else's, which a link in the working directory leads to."""
    return any(one.is_symlink() for one in (folder, *folder.parents) if working in one.parents)


def _is_below(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
