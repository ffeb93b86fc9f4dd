"""GHDL: VHDL, by cocotb's VPI library for it.

GHDL's usual code generator, mcode, keeps no program: it reads the sources again at each start. So
a build has copies of them, and a library that says where they are.

Source of the options: https://ghdl.github.io/ghdl/using/InvokingGHDL.html
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from labctl.fpga.coverage import toggles
from labctl.fpga.coverage.model import Hits
from labctl.fpga.model import Core, Variant
from labctl.fpga.programs import run_bounded
from labctl.fpga.simulators.base import (
    COMPILE_S,
    BuildError,
    Compiled,
    first_line,
    mistake_at,
    refuse_language,
)
from labctl.fpga.simulators.shared import cocotb_with, need
from labctl.report.sanitize import clean

LANGUAGES = ("vhdl",)
_SOURCES = "src"
_WAVES, _TOGGLES = "waves.fst", "waves.vcd"
_WHERE = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+):\d+:(?P<text>.*)$", re.MULTILINE)
_NO_TOP = re.compile(r"(?:cannot find (?:entity|resource)|no (?:entity|unit)).*", re.IGNORECASE)
_NO_GENERIC = re.compile(r"cannot find in top entity generic '(\w+)'")


@dataclass(frozen=True)
class Ghdl:
    """See `labctl.fpga.simulators.base.Simulator`.

    Attributes:
        ghdl: The program.
        version: What it says of itself, with its code generator.
        vpi: cocotb's library for it.
        gpi_users: The libraries that cocotb loads.
        coverage: Runs record each change of each signal, from which bits that toggle are counted.
    """

    name: ClassVar[str] = "ghdl"
    title: ClassVar[str] = "GHDL"
    languages: ClassVar[tuple[str, ...]] = LANGUAGES
    forks: ClassVar[bool] = False
    program: ClassVar[str] = _SOURCES

    ghdl: str
    version: str
    vpi: str
    gpi_users: str
    coverage: bool = False

    def arguments(self, core: Core, variant: Variant) -> list[str]:
        """Return the program and what says what is built."""
        return [
            self.ghdl, *self._options(core), core.top, *_generics(variant),
            *(str(source.absolute()) for source in core.sources),
        ]  # fmt: skip

    def compile(self, core: Core, arguments: Sequence[str], folder: Path) -> Compiled:
        """Copy the sources to ``folder`` and have them read and elaborated once."""
        refuse_language(self, core)
        copies: dict[str, Path] = {}
        (folder / _SOURCES).mkdir()
        for number, source in enumerate(core.sources):
            copy = folder / _SOURCES / f"{number:03d}-{source.name}"
            shutil.copyfile(source, copy)
            copies[str(copy)] = source
        generics = [one for one in arguments if one.startswith("-g")]
        said = ""
        for command in (
            ["-i", *self._options(core), f"--workdir={folder}", *copies],
            ["-m", *self._options(core), f"--workdir={folder}", core.top],
            ["-r", *self._options(core), f"--workdir={folder}", core.top, *generics, "--no-run"],
        ):
            code, output = run_bounded([self.ghdl, *command], cwd=folder, deadline_s=COMPILE_S)
            text = clean(output)
            for copy_name, source in copies.items():
                text = text.replace(copy_name, str(source))
            said += text
            if code is None:
                raise BuildError(core.name, f"compiling took more than {COMPILE_S:.0f} s", said)
            if code != 0:
                raise BuildError(core.name, _first_error(text, core), said)
        return Compiled(said)

    def settle(self, folder: Path, target: Path) -> None:
        """Have the library say where the sources will be."""
        for library in folder.glob("*.cf"):
            library.write_text(library.read_text().replace(str(folder), str(target)))

    def command(self, program: Path, core: Core, variant: Variant, *, waves: bool) -> list[str]:
        """Return the command of a simulation."""
        dump = [f"--fst={_WAVES}"] if waves else []
        if self.coverage:
            dump = [f"--vcd={_TOGGLES}"]  # these are waves, too
        return [
            self.ghdl, "-r", *self._options(core), f"--workdir={program.parent}", core.top,
            f"--vpi={self.vpi}", *dump, *_generics(variant), *core.plusargs, *variant.plusargs,
        ]  # fmt: skip

    def environment(self, core: Core) -> Mapping[str, str]:
        """Return what cocotb's own runner sets for it."""
        return {"COCOTB_TRUST_INERTIAL_WRITES": "1"}

    def waves(self, folder: Path) -> Path | None:
        """Return the recorded waves."""
        return next((folder / one for one in (_WAVES, _TOGGLES) if (folder / one).is_file()), None)

    def hits(self, folder: Path, core: Core, variant: Variant) -> list[Hits]:
        """Return which bits toggled."""
        return toggles.of_run(folder / _TOGGLES, core, variant)

    def _options(self, core: Core) -> list[str]:
        given = any(one.startswith("--std=") for one in core.flags)
        return [*([] if given else ["--std=08"]), *core.flags]


def find(*, coverage: bool = False) -> Ghdl:
    """Return what is installed; see `labctl.fpga.simulators.find_simulator`."""
    ghdl = need("ghdl", Ghdl.title, "apt install ghdl")
    data = cocotb_with("ghdl", (ghdl,), (ghdl, "--version"))
    return Ghdl(ghdl, data["version"], data["library"], data["gpi_users"], coverage)


def _generics(variant: Variant) -> list[str]:
    return [f"-g{name}={value}" for name, value in variant.parameters.items()]


def _first_error(said: str, core: Core) -> str:
    """Return the first mistake with its place, in one line."""
    for found in _WHERE.finditer(said):
        if ":warning:" not in found["text"] and "warning:" not in found["text"]:
            return mistake_at(core, found["file"], found["line"], found["text"])
    unknown = _NO_GENERIC.search(said)
    if unknown:
        return f"{core.top} has no parameter '{unknown[1].upper()}'"
    if _NO_TOP.search(said):
        return f"there is no entity '{core.top}' in its sources"
    return first_line(said)
