"""Compiled simulations, found again by their content: never stale, never compiled twice.

A build is named by all that went into it: the text and order of the sources, macros, parameters,
flags, the files that the design reads as it runs, the compiler and its version; below that name by
the text of what the sources include, as the compiler itself told it. It is made in a folder of its
own and renamed into place, so that others see all of it or nothing, and two who build the same do
not meet.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import DependencyError
from labctl.fpga import data_files
from labctl.fpga.model import Core, Variant
from labctl.fpga.simulators.base import BuildError, Simulator
from labctl.fpga.simulators.icarus import WAVES_ARGUMENT, WAVES_FILE
from labctl.fpga.toolchain import Toolchain
from labctl.paths import cache_dir, make_private

__all__ = ["WAVES_ARGUMENT", "WAVES_FILE", "Build", "BuildError", "build", "try_build"]

# Changes when a build is made in another way.
_FORMAT = "3"


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
        BuildError: It does not compile, or its simulator is not installed.
    """
    try:
        simulator = tools.of(core)
    except DependencyError as error:
        cause = f"{error.cause}; {error.action}"
        raise BuildError(core.name, cause, "", error.action) from None
    arguments = simulator.arguments(core, variant)
    key = _key(core, variant, arguments, simulator)
    place = cache_dir() / "fpga" / "builds" / key
    for entry in sorted(place.glob("*/build.json")):
        found = _recall(entry, simulator)
        if found is not None:
            program = entry.with_name(simulator.program)
            return Build(f"{key}-{entry.parent.name}", program, found, fresh=False)
    return _compile(core, variant, arguments, place, simulator)


def try_build(core: Core, variant: Variant, tools: Toolchain) -> Build | BuildError:
    """Return the simulation, or why there is none; see `build`."""
    try:
        return build(core, variant, tools)
    except BuildError as error:
        return error


def _recall(entry: Path, simulator: Simulator) -> str | None:
    """Return the warnings of a build if all that it included is as it was."""
    try:
        data = json.loads(entry.read_text(encoding="utf-8"))
        same = all(_digest_file(Path(name)) == sum_ for name, sum_ in data["included"].items())
        if same and entry.with_name(simulator.program).exists():
            os.utime(entry)  # its last use
            return str(data["warnings"])
    except (OSError, ValueError, KeyError):
        pass
    return None


def _compile(
    core: Core, variant: Variant, arguments: list[str], place: Path, simulator: Simulator
) -> Build:
    make_private(place)
    folder = Path(tempfile.mkdtemp(dir=place.parent, prefix=".new-"))
    try:
        compiled = simulator.compile(core, arguments, folder)
        data = data_files.data_files(core, variant, compiled.read)
        included = {str(path): _digest_file(path) for path in (*compiled.read, *data.values())}
        data_files.copy_into(folder, data)
        inner = _digest(sorted(included.items()))[:16]
        about = {
            "core": core.name,
            "included": included,
            "warnings": compiled.said,
            "command": arguments,
        }
        (folder / "build.json").write_text(json.dumps(about, indent=1))
        target = place / inner
        simulator.settle(folder, target)
        if _recall(target / "build.json", simulator) is None:
            shutil.rmtree(target, ignore_errors=True)  # damaged, if it is there
            # Fails where somebody else was quicker: theirs is the same.
            with contextlib.suppress(OSError):
                folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Build(f"{place.name}-{inner}", target / simulator.program, compiled.said, fresh=True)


def _key(core: Core, variant: Variant, arguments: list[str], simulator: Simulator) -> str:
    try:
        sources = [_digest_file(source) for source in core.sources]
    except OSError as error:
        raise BuildError(core.name, f"{error.filename}: {error.strerror}", "") from None
    # A new file in a folder of includes may take the place of one found later in the search.
    names = [sorted(os.listdir(one)) for one in core.include if one.is_dir()]  # noqa: PTH208
    facts = [simulator.name, simulator.version, simulator.coverage, core.timescale]
    data = sorted(data_files.data_files(core, variant))
    return _digest([_FORMAT, facts, arguments, sources, names, data])[:32]


def _digest_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(data: object) -> str:
    return hashlib.sha256(json.dumps(data).encode(errors="surrogateescape")).hexdigest()
