"""What a simulator has to offer, and what all of them share."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from labctl.errors import LabctlError
from labctl.fpga.coverage.model import Hits
from labctl.fpga.model import Core, Value, Variant
from labctl.inventory.diagnostics import shown_path

# Seconds that a compiler may take; Verilator hands its output to a C++ compiler.
COMPILE_S = 300.0
# A number of Verilog goes to the compiler as it is; other text in quotes. IEEE 1364-2005, 3.5.
_NUMBER = re.compile(r"[-+]?(?:\d+|\d*'[sS]?[bBoOdDhH][0-9a-fA-FxXzZ_?]+|\d+\.\d+)")
VHDL_ENDINGS = (".vhd", ".vhdl")


class BuildError(LabctlError):
    """The design does not compile; ``log`` is what the compiler said."""

    def __init__(self, thing: str, cause: str, log: str, action: str = "correct it") -> None:
        super().__init__(cause, thing=thing, action=action)
        self.log = log


@dataclass(frozen=True)
class Compiled:
    """What a compiler left in its folder.

    Attributes:
        said: What it said.
        read: The files that it read besides the sources.
    """

    said: str
    read: tuple[Path, ...] = ()


class Simulator(Protocol):
    """A simulator as it is installed here. It holds plain data and can be sent elsewhere.

    Attributes:
        name: ``icarus``, for instance: the name of its module.
        title: How people call it.
        languages: ``verilog``, ``vhdl``.
        forks: A running simulation can make copies of itself.
        program: Name of what it runs, in the folder of a build.
        version: All that tells one version from another.
        gpi_users: Value of the variable of that name: the libraries that cocotb loads.
        coverage: Builds and runs collect code coverage.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    languages: ClassVar[tuple[str, ...]]
    forks: ClassVar[bool]
    program: ClassVar[str]

    @property
    def version(self) -> str: ...  # noqa: D102
    @property
    def gpi_users(self) -> str: ...  # noqa: D102
    @property
    def coverage(self) -> bool: ...  # noqa: D102

    def arguments(self, core: Core, variant: Variant) -> list[str]:
        """Return the compiler and those of its arguments that say what is built."""

    def compile(self, core: Core, arguments: Sequence[str], folder: Path) -> Compiled:
        """Compile into ``folder``, which will be moved.

        Raises:
            BuildError: It does not compile.
        """

    def settle(self, folder: Path, target: Path) -> None:
        """Prepare what was compiled in ``folder`` for being in ``target``."""

    def command(self, program: Path, core: Core, variant: Variant, *, waves: bool) -> list[str]:
        """Return the command of a simulation, which runs in a folder of its own."""

    def environment(self, core: Core) -> Mapping[str, str]:
        """Return the variables that it needs besides those of cocotb."""

    def waves(self, folder: Path) -> Path | None:
        """Return the waves that a run in ``folder`` recorded."""

    def hits(self, folder: Path, core: Core, variant: Variant) -> list[Hits]:
        """Return the code coverage that a run in ``folder`` left, and remove the raw data."""


def is_vhdl(path: Path) -> bool:
    """Tell whether a source is VHDL, by its name."""
    return path.suffix.lower() in VHDL_ENDINGS


def merged_defines(core: Core, variant: Variant) -> Mapping[str, Value | None]:
    """Return the macros of a set of parameters."""
    return {**core.defines, **variant.defines}


def literal(value: Value) -> str:
    """Return the value of a parameter as Verilog has it."""
    if isinstance(value, int) or _NUMBER.fullmatch(value):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def refuse_language(simulator: Simulator, core: Core) -> None:
    """Insist that a simulator takes the language of a core.

    Raises:
        BuildError: It does not; the action names one that does.
    """
    kinds = {"vhdl" if is_vhdl(one) else "verilog" for one in core.sources}
    if kinds <= set(simulator.languages):
        return
    if len(kinds) > 1:
        cause = "it has sources in Verilog and in VHDL, and no free simulator takes both"
        raise BuildError(core.name, cause, "", "translate one of them (ghdl --synth)")
    kind = {"vhdl": "VHDL", "verilog": "Verilog"}[kinds.pop()]
    other = "ghdl" if kind == "VHDL" else "icarus"
    raise BuildError(
        core.name, f"its sources are {kind}, which {simulator.title} does not take", "",
        f"run it with --sim {other}",
    )  # fmt: skip


def mistake_at(core: Core, file: str, line: str, text: str) -> str:
    """Return a mistake with its place, in one line; ``file`` is relative to the core's folder."""
    path = Path(os.path.normpath(core.path.parent.absolute() / file))
    return f"{shown_path(path)}:{line}: {text.strip()}"


def files_read(names: Iterable[str], core: Core, folder: Path) -> tuple[Path, ...]:
    """Return the files of ``names`` that are no sources of ``core`` and not in ``folder``."""
    sources = {source.absolute() for source in core.sources}
    found = []
    for name in dict.fromkeys(names):
        path = Path(os.path.normpath(core.path.parent.absolute() / name))
        if path not in sources and folder not in path.parents and path.is_file():
            found.append(path)
    return tuple(found)


def first_line(said: str) -> str:
    """Return the first line that says something."""
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[0] if lines else "the compiler failed and said nothing"
