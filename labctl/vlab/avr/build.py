"""Make the simulator and the boot loader of a virtual AVR board on this machine, once.

What is made is kept under a name that follows everything it is made of: our source, Debian's, the
options, and the library of simavr.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import LabctlError
from labctl.fileio import locked
from labctl.paths import cache_dir, make_private
from labctl.report.sanitize import clean_line
from labctl.vlab.avr.parts import FILES, PROGRAMS, AvrModel
from labctl.vlab.programs import require, tool_environment

_SOURCE = Path(__file__).with_name("simulator.c")
_HEADERS = "/usr/include/simavr"
_COMPILE_S = 120.0
_ERASED = b"\xff"


@dataclass(frozen=True)
class Built:
    """What was made.

    Attributes:
        simulator: The program.
        flash: Content of the flash of a new board: its boot loader and nothing else.
    """

    simulator: Path
    flash: Path


def build(model: AvrModel) -> Built:
    """Return the simulator and the flash of a new board of ``model``, made now or before.

    Raises:
        DependencyError: Compilers, headers or the source of the boot loader are missing.
        LabctlError: It cannot be compiled; the message is the compiler's first error.
    """
    require_parts([model])
    base = make_private(cache_dir() / "avr")
    folder = base / _key(model)
    built = Built(folder / "simulator", folder / "flash.bin")
    if folder.is_dir():
        return built
    with (
        locked(base / ".lock", what="the AVR simulator"),
        tempfile.TemporaryDirectory(dir=base, prefix=".making-") as name,
    ):
        if not folder.is_dir():  # another labctl may have made it while we waited
            work = Path(name) / "new"
            work.mkdir(mode=0o700)
            _run("the AVR simulator", simulator_command(work / "simulator"))
            (work / "flash.bin").write_bytes(_flash(model, work))
            os.rename(work, folder)  # noqa: PTH104 - Path.rename would do the same
    return built


def require_parts(models: Sequence[AvrModel]) -> None:
    """Check that what ``models`` are made of and by is installed.

    Raises:
        DependencyError: Something is missing; the action installs all of it.
    """
    if models:
        sources = [(one.loader.source, one.loader.package) for one in models]
        require(PROGRAMS, files=[*FILES, *sources])


def simulator_command(target: Path) -> list[str]:
    """Return how the simulator is compiled."""
    return ["gcc", "-O2", "-Wall", f"-I{_HEADERS}", "-o", str(target), str(_SOURCE), "-lsimavr"]


def loader_command(model: AvrModel, target: Path) -> list[str]:
    """Return how the boot loader is compiled, as its own Makefile does it."""
    loader = model.loader
    version = (
        []
        if loader.version_at is None
        else [f"-Wl,--section-start=.version={loader.version_at:#x}"]
    )
    return [
        "avr-gcc", "-Os", f"-mmcu={model.part}", f"-DF_CPU={model.hz}L",
        *(f"-D{name}={value}" for name, value in loader.defines.items()),
        *loader.options,
        f"-Wl,--section-start=.text={loader.address:#x}", *version,
        "-Wl,--relax", "-Wl,--gc-sections", "-nostartfiles", "-nostdlib",
        "-o", str(target), loader.source,
    ]  # fmt: skip


def _flash(model: AvrModel, work: Path) -> bytes:
    loader, elf, raw = model.loader, work / "loader.elf", work / "loader.bin"
    _run(loader.source, loader_command(model, elf))
    _run(
        loader.source,
        ["avr-objcopy", "-O", "binary", "-j", ".text", "-j", ".version",
         "--set-section-flags", ".version=alloc,load", "--gap-fill", "0xff", str(elf), str(raw)],
    )  # fmt: skip
    code = raw.read_bytes()
    if len(code) > loader.size:
        raise LabctlError(
            f"this compiler makes {len(code)} bytes of it; the boot section has {loader.size}",
            thing=loader.source, action="use Debian 12's gcc-avr",
        )  # fmt: skip
    flash = bytearray(_ERASED * model.flash_bytes)
    flash[loader.address : loader.address + len(code)] = code
    return bytes(flash)


def _key(model: AvrModel) -> str:
    digest = hashlib.sha256(_SOURCE.read_bytes())
    digest.update(Path(model.loader.source).read_bytes())
    digest.update(repr((model, simulator_command(Path()), loader_command(model, Path()))).encode())
    # A new simavr behaves in its own way.
    library = _run("simavr", ["gcc", "-print-file-name=libsimavr.so"]).decode().strip()
    if Path(library).is_absolute():
        digest.update(Path(library).read_bytes())
    return digest.hexdigest()[:16]


def _run(thing: str, command: list[str]) -> bytes:
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=_COMPILE_S, env=tool_environment()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabctlError(f"{command[0]}: {error}", thing=thing) from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if b"error" in line.lower()]
        said = clean_line((lines or done.stderr.splitlines() or [b"no message"])[0])
        raise LabctlError(f"{command[0]} failed: {said}", thing=thing)
    return done.stdout
