"""Compiled simulations, found again by their content: never stale, never compiled twice.

A build is named by all that went into it: the text and order of the sources, macros, parameters,
flags, the compiler and its version; below that name by the text of what the sources include, as
the compiler itself told it. It is made in a folder of its own and renamed into place, so that
others see all of it or nothing, and two who build the same do not meet.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import LabctlError
from labctl.fpga.model import Core, Value, Variant
from labctl.fpga.programs import run_bounded
from labctl.fpga.toolchain import Toolchain
from labctl.inventory.diagnostics import shown_path
from labctl.paths import cache_dir, make_private
from labctl.report.sanitize import clean

# Changes when a build is made in another way.
_FORMAT = "1"
_DEADLINE_S = 300.0
WAVES_ARGUMENT = "+labctl_waves"
WAVES_FILE = "waves.fst"
_DUMP_TOP = "labctl_waves"
# A number of Verilog goes to the compiler as it is; other text in quotes. IEEE 1364-2005, 3.5.
_NUMBER = re.compile(r"[-+]?(?:\d+|\d*'[sS]?[bBoOdDhH][0-9a-fA-FxXzZ_?]+|\d+\.\d+)")
_NO_PARAMETER = re.compile(r"warning: parameter (?P<name>\S+) not found in (?P<top>\S+)\.")
_WHERE = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+): (?P<text>.*)$", re.MULTILINE)


class BuildError(LabctlError):
    """The design does not compile; ``log`` is what the compiler said."""

    def __init__(self, thing: str, cause: str, log: str) -> None:
        super().__init__(cause, thing=thing, action="correct it")
        self.log = log


@dataclass(frozen=True)
class Build:
    """A compiled simulation.

    Attributes:
        key: Its name.
        path: The file that the simulator runs.
        warnings: What the compiler said.
        fresh: It was compiled now, and not found.
    """

    key: str
    path: Path
    warnings: str
    fresh: bool


def build(core: Core, variant: Variant, tools: Toolchain) -> Build:
    """Return the simulation of ``core`` with the parameters ``variant``, compiled if need be.

    Raises:
        BuildError: It does not compile.
    """
    arguments = _arguments(core, variant, tools)
    key = _key(core, arguments, tools)
    place = cache_dir() / "fpga" / "builds" / key
    for entry in sorted(place.glob("*/build.json")):
        found = _recall(entry)
        if found is not None:
            return Build(
                f"{key}-{entry.parent.name}", entry.with_name("sim.vvp"), found, fresh=False
            )
    return _compile(core, arguments, key, place)


def try_build(core: Core, variant: Variant, tools: Toolchain) -> Build | BuildError:
    """Return the simulation, or why there is none; see `build`."""
    try:
        return build(core, variant, tools)
    except BuildError as error:
        return error


def _recall(entry: Path) -> str | None:
    """Return the warnings of a build if all that it included is as it was."""
    try:
        data = json.loads(entry.read_text(encoding="utf-8"))
        same = all(_digest_file(Path(name)) == sum_ for name, sum_ in data["included"].items())
        if same and entry.with_name("sim.vvp").is_file():
            os.utime(entry)  # its last use
            return str(data["warnings"])
    except (OSError, ValueError, KeyError):
        pass
    return None


def _compile(core: Core, arguments: list[str], key: str, place: Path) -> Build:
    make_private(place)
    folder = Path(tempfile.mkdtemp(dir=place.parent, prefix=".new-"))
    try:
        said, included = _compile_in(folder, core, arguments)
        inner = _digest(sorted(included.items()))[:16]
        data = {"core": core.name, "included": included, "warnings": said, "command": arguments}
        (folder / "build.json").write_text(json.dumps(data, indent=1))
        target = place / inner
        if _recall(target / "build.json") is None:
            shutil.rmtree(target, ignore_errors=True)  # damaged, if it is there
            # Fails where somebody else was quicker: theirs is the same.
            with contextlib.suppress(OSError):
                folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Build(f"{key}-{inner}", target / "sim.vvp", said, fresh=True)


def _compile_in(folder: Path, core: Core, arguments: list[str]) -> tuple[str, dict[str, str]]:
    """Compile into ``folder``; return what was said, and the included files with their sums."""
    dump, commands, listing = folder / "dump.v", folder / "commands", folder / "files"
    dump.write_text(_dump_module(core.top))
    # As cocotb's own runner does: the default of designs that say nothing.
    commands.write_text(f"+timescale+{core.timescale}\n")
    command = [
        arguments[0], "-o", str(folder / "sim.vvp"), f"-Mall={listing}", "-f", str(commands),
        *arguments[1:], str(dump),
    ]  # fmt: skip
    code, output = run_bounded(command, cwd=core.path.parent, deadline_s=_DEADLINE_S)
    said = clean(output)
    if code is None:
        raise BuildError(core.name, f"compiling took more than {_DEADLINE_S:.0f} s", said)
    if code != 0 or not (folder / "sim.vvp").is_file():
        raise BuildError(core.name, _first_error(said, core), said)
    # Only a warning for the compiler, which goes on with the default.
    unknown = _NO_PARAMETER.search(said)
    if unknown:
        raise BuildError(core.name, f"{unknown['top']} has no parameter '{unknown['name']}'", said)
    included = {str(path): _digest_file(path) for path in _included(listing, core, folder)}
    for extra in (dump, commands, listing):
        extra.unlink(missing_ok=True)
    return said, included


def _arguments(core: Core, variant: Variant, tools: Toolchain) -> list[str]:
    return [
        tools.iverilog, "-g2012", "-Wall", "-Wno-timescale", "-s", core.top, "-s", _DUMP_TOP,
        *(f"-D{name}" if value is None else f"-D{name}={value}"
          for name, value in core.defines.items()),
        *(f"-I{folder}" for folder in core.include),
        *(f"-P{core.top}.{name}={_literal(value)}" for name, value in variant.parameters.items()),
        *core.flags,
        *(str(source.absolute()) for source in core.sources),
    ]  # fmt: skip


def _literal(value: Value) -> str:
    if isinstance(value, int) or _NUMBER.fullmatch(value):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _key(core: Core, arguments: list[str], tools: Toolchain) -> str:
    try:
        sources = [_digest_file(source) for source in core.sources]
    except OSError as error:
        raise BuildError(core.name, f"{error.filename}: {error.strerror}", "") from None
    # A new file in a folder of includes may take the place of one found later in the search.
    names = [sorted(os.listdir(one)) for one in core.include if one.is_dir()]  # noqa: PTH208
    return _digest([_FORMAT, tools.version, core.timescale, arguments, sources, names])[:32]


def _included(listing: Path, core: Core, folder: Path) -> Iterator[Path]:
    """Yield the files that the compiler read besides the sources."""
    sources = {source.absolute() for source in core.sources}
    names = listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else []
    for name in dict.fromkeys(names):
        path = Path(os.path.normpath(core.path.parent.absolute() / name))
        if path not in sources and folder not in path.parents and path.is_file():
            yield path


def _dump_module(top: str) -> str:
    """Return a module that dumps waves where a run asks for them; it costs nothing otherwise."""
    return (
        f"module {_DUMP_TOP};\n"
        f'  initial if ($test$plusargs("{WAVES_ARGUMENT[1:]}")) begin\n'
        f'    $dumpfile("{WAVES_FILE}");\n    $dumpvars(0, {top});\n  end\nendmodule\n'
    )


def _first_error(said: str, core: Core) -> str:
    """Return the first mistake with its place, in one line."""
    for found in _WHERE.finditer(said):
        if "warning" in found["text"].lower():
            continue
        path = Path(os.path.normpath(core.path.parent.absolute() / found["file"]))
        text = found["text"].strip().removeprefix("error: ")
        return f"{shown_path(path)}:{found['line']}: {text}"
    if f'Unable to find the root module "{core.top}"' in said:
        return f"there is no module '{core.top}' in its sources"
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[0] if lines else "the compiler failed and said nothing"


def _digest_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(data: object) -> str:
    return hashlib.sha256(json.dumps(data).encode(errors="surrogateescape")).hexdigest()
