"""Icarus Verilog: compiles in milliseconds; its simulation can copy itself."""

from __future__ import annotations

import re
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
    files_read,
    first_line,
    literal,
    merged_defines,
    mistake_at,
    refuse_language,
)
from labctl.fpga.simulators.shared import cocotb_with, need
from labctl.report.sanitize import clean

LANGUAGES = ("verilog",)
WAVES_ARGUMENT = "+labctl_waves"
WAVES_FILE = "waves.fst"
_TOGGLES_ARGUMENT, _TOGGLES_FILE = "+labctl_toggles", "waves.vcd"
_DUMP_TOP = "labctl_waves"
_OUR_DUMP_CALLS = 6  # in the module that is compiled in
_NO_PARAMETER = re.compile(r"warning: parameter (?P<name>\S+) not found in (?P<top>\S+)\.")
_WHERE = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+): (?P<text>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Icarus:
    """See `labctl.fpga.simulators.base.Simulator`.

    Attributes:
        iverilog: The compiler.
        vvp: The simulator.
        version: What the compiler says of itself.
        vpi: cocotb's library for it.
        gpi_users: The libraries that cocotb loads.
        coverage: Runs record each change of each signal, from which bits that toggle are counted.
    """

    name: ClassVar[str] = "icarus"
    title: ClassVar[str] = "Icarus Verilog"
    languages: ClassVar[tuple[str, ...]] = LANGUAGES
    forks: ClassVar[bool] = True
    program: ClassVar[str] = "sim.vvp"

    iverilog: str
    vvp: str
    version: str
    vpi: str
    gpi_users: str
    coverage: bool = False

    def arguments(self, core: Core, variant: Variant) -> list[str]:
        """Return the compiler and what says what is built."""
        return [
            self.iverilog, "-g2012", "-Wall", "-Wno-timescale", "-s", core.top, "-s", _DUMP_TOP,
            *(f"-D{name}" if value is None else f"-D{name}={value}"
              for name, value in merged_defines(core, variant).items()),
            *(f"-I{folder}" for folder in core.include),
            *(f"-P{core.top}.{name}={literal(value)}"
              for name, value in variant.parameters.items()),
            *core.flags,
            *(str(source.absolute()) for source in core.sources),
        ]  # fmt: skip

    def compile(self, core: Core, arguments: Sequence[str], folder: Path) -> Compiled:
        """Compile into ``folder``."""
        refuse_language(self, core)
        dump, commands, listing = folder / "dump.v", folder / "commands", folder / "files"
        dump.write_text(_dump_module(core.top))
        # As cocotb's own runner does: the default of designs that say nothing.
        commands.write_text(f"+timescale+{core.timescale}\n")
        command = [
            arguments[0], "-o", str(folder / self.program), f"-Mall={listing}",
            "-f", str(commands), *arguments[1:], str(dump),
        ]  # fmt: skip
        code, output = run_bounded(command, cwd=core.path.parent, deadline_s=COMPILE_S)
        said = clean(output)
        if code is None:
            raise BuildError(core.name, f"compiling took more than {COMPILE_S:.0f} s", said)
        if code != 0 or not (folder / self.program).is_file():
            raise BuildError(core.name, _first_error(said, core), said)
        # Only a warning for the compiler, which goes on with the default.
        unknown = _NO_PARAMETER.search(said)
        if unknown:
            cause = f"{unknown['top']} has no parameter '{unknown['name']}'"
            raise BuildError(core.name, cause, said)
        names = listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else []
        read = files_read(names, core, folder)
        for extra in (dump, commands, listing):
            extra.unlink(missing_ok=True)
        return Compiled(said, read)

    def settle(self, folder: Path, target: Path) -> None:
        """Do nothing: a file of vvp can be moved."""

    def command(self, program: Path, core: Core, variant: Variant, *, waves: bool) -> list[str]:
        """Return the command of a simulation."""
        if self.coverage:
            dump = ["-vcd", _TOGGLES_ARGUMENT]  # one format at a time: these are waves, too
        else:
            dump = ["-fst", WAVES_ARGUMENT] if waves else ["-none"]
        return [
            self.vvp, "-n", "-m", self.vpi, str(program), *dump, *core.plusargs, *variant.plusargs,
        ]  # fmt: skip

    def environment(self, core: Core) -> Mapping[str, str]:
        """Return nothing: it needs no variables."""
        return {}

    def waves(self, folder: Path) -> Path | None:
        """Return the recorded waves."""
        names = (WAVES_FILE, _TOGGLES_FILE)
        return next((folder / one for one in names if (folder / one).is_file()), None)

    def hits(self, folder: Path, core: Core, variant: Variant) -> list[Hits]:
        """Return which bits toggled."""
        return toggles.of_run(folder / _TOGGLES_FILE, core, variant)


def find(*, coverage: bool = False) -> Icarus:
    """Return what is installed; see `labctl.fpga.simulators.find_simulator`."""
    action = "apt install iverilog"
    iverilog, vvp = need("iverilog", Icarus.title, action), need("vvp", Icarus.title, action)
    data = cocotb_with("icarus", (iverilog, vvp), (iverilog, "-V"))
    return Icarus(iverilog, vvp, data["version"], data["library"], data["gpi_users"], coverage)


def _dump_module(top: str) -> str:
    """Return a module that dumps waves where a run asks for them; it costs nothing otherwise.

    Or from the moment at which ``go`` becomes 1: see `labctl.fpga.inside.labctl_checkpoints`.
    """
    texts = [
        f'    if ($test$plusargs("{argument[1:]}")) begin\n'
        f'      $dumpfile("{file}");\n      $dumpvars(0, {top});\n    end\n'
        for argument, file in ((WAVES_ARGUMENT, WAVES_FILE), (_TOGGLES_ARGUMENT, _TOGGLES_FILE))
    ]
    later = f'begin $dumpfile("{WAVES_FILE}"); $dumpvars(0, {top}); end'
    return (
        f"module {_DUMP_TOP};\n  reg go = 0;\n  always @(posedge go) {later}\n"
        f"  initial begin\n{''.join(texts)}  end\nendmodule\n"
    )


def records_later(program: Path) -> bool:
    """Tell whether nothing in a design writes waves by itself.

    vvp keeps what writes them quiet for all or for none: only then can it stand ready to record
    and cost nothing.
    """
    try:
        return program.read_bytes().count(b'"$dump') == _OUR_DUMP_CALLS
    except OSError:
        return False


def _first_error(said: str, core: Core) -> str:
    """Return the first mistake with its place, in one line."""
    for found in _WHERE.finditer(said):
        if "warning" not in found["text"].lower():
            text = found["text"].strip().removeprefix("error: ")
            return mistake_at(core, found["file"], found["line"], text)
    if f'Unable to find the root module "{core.top}"' in said:
        return f"there is no module '{core.top}' in its sources"
    return first_line(said)
