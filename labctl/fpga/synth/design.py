"""What is synthesised: sources with parameters, and a digest of all that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labctl.errors import LabctlError
from labctl.fpga.data_files import data_files
from labctl.fpga.model import Core, Value, Variant
from labctl.fpga.simulators.base import is_vhdl, merged_defines

_INCLUDE = re.compile(r'^\s*`include\s+"([^"\n]+)"', re.MULTILINE)


@dataclass(frozen=True)
class Design:
    """A design as a synthesis program reads it.

    Attributes:
        name: For people.
        top: Its top module.
        folder: Where the program runs; names of data files are relative to it.
        sources: Verilog files.
        include: Folders of `` `include``.
        defines: Macros; None is one without a value.
        parameters: Of the top.
        data: Files that it reads, such as those of ``$readmemh``.
    """

    name: str
    top: str
    folder: Path
    sources: tuple[Path, ...]
    include: tuple[Path, ...] = ()
    defines: Mapping[str, Value | None] = field(default_factory=dict)
    parameters: Mapping[str, Value] = field(default_factory=dict)
    data: tuple[Path, ...] = ()


def of(core: Core, variant: Variant) -> Design:
    """Return the design of ``core`` with the parameters ``variant``.

    Raises:
        LabctlError: It is in VHDL.
    """
    if any(is_vhdl(source) for source in core.sources):
        raise LabctlError(
            "it is in VHDL, and yosys reads Verilog", thing=core.name,
            action="translate it (ghdl --synth --out=verilog)",
        )  # fmt: skip
    return Design(
        core.name, core.top, core.path.parent.absolute(), core.sources, core.include,
        merged_defines(core, variant), dict(variant.parameters),
        tuple(data_files(core, variant).values()),
    )  # fmt: skip


def shown(design: Design, path: Path) -> str:
    """Return how a program that runs in the design's folder is told of ``path``."""
    return os.path.relpath(path.absolute(), design.folder)


def digest(design: Design) -> str:
    """Return a digest of the design and of every file that its text names.

    Names are relative, so the same design in another place has the same digest. What is included
    only under a condition counts as well; what a name that is computed stands for does not.

    Raises:
        LabctlError: A source cannot be read.
    """
    files = {shown(design, path): _sum(path) for path in design.sources}
    try:
        files |= {shown(design, path): _sum(path) for path in _named(design)}
    except OSError as error:
        raise LabctlError(
            f"cannot be read: {error.strerror}", thing=str(error.filename), action="see its mode"
        ) from None
    parts = [
        design.top, list(files.items()), [shown(design, one) for one in design.include],
        list(design.defines.items()), sorted(design.parameters.items()),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode(errors="surrogateescape")).hexdigest()


def _sum(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise LabctlError(
            f"cannot be read: {error.strerror}", thing=str(path), action="see that it is there"
        ) from None


def _named(design: Design) -> Iterator[Path]:
    """Yield the files that the sources read, each once."""
    yield from design.data
    waiting = list(design.sources)
    seen = {path.absolute() for path in waiting}
    while waiting:
        path = waiting.pop()
        text = path.read_text(encoding="utf-8", errors="replace")
        for name in _INCLUDE.findall(text):
            for folder in (path.parent, design.folder, *design.include):
                there = Path(os.path.normpath(folder.absolute() / name))
                if there not in seen and there.is_file():
                    seen.add(there)
                    waiting.append(there)
                    yield there
