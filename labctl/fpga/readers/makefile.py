"""Other people's cocotb projects: a Makefile that includes cocotb's ``Makefile.sim``.

Only make can tell what a Makefile says, so make reads it: with a target of ours that prints the
variables, and without cocotb's own rules, so that nothing is compiled and no simulator starts.

Source of the variables: https://docs.cocotb.org/en/v2.1.0/building.html; the names before cocotb
2.0 (``TOPLEVEL``, ``MODULE``, ``PLUSARGS``) are read as well.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from labctl.errors import DependencyError, UsageError
from labctl.fpga.model import Core, Problem, TestCase
from labctl.fpga.programs import run_bounded
from labctl.fpga.readers.test_modules import read_tests
from labctl.fpga.toolchain import environment
from labctl.inventory.diagnostics import InventoryError, shown_path
from labctl.report.sanitize import clean, clean_line

FILE_NAMES = ("GNUmakefile", "makefile", "Makefile")
ORDER, ALONE = 3, False
_MENTION = re.compile(rb"cocotb|^\s*(?:export\s+)?MODULE\s*[:?]?=", re.IGNORECASE | re.MULTILINE)
_DEADLINE_S = 30.0
# A test of somebody else may take its time; cocotb itself knows no limit.
_TIMEOUT_S = 600.0
_MARK = "labctl-variable "
_VARIABLES = (
    "COCOTB_TOPLEVEL", "TOPLEVEL", "COCOTB_TEST_MODULES", "MODULE", "VERILOG_SOURCES",
    "VHDL_SOURCES", "VERILOG_INCLUDE_DIRS", "COMPILE_ARGS", "EXTRA_ARGS", "COCOTB_PLUSARGS",
    "PLUSARGS", "COCOTB_HDL_TIMEUNIT", "COCOTB_HDL_TIMEPRECISION",
)  # fmt: skip
# vvp(1): formats of waves, which are ours to choose.
_FORMATS = {"-fst", "-none", "-vcd", "-lxt", "-lxt2", "-fst-space", "-fst-speed"}
# Variables that make itself, or a shell below it, sets.
_MAKES = re.compile(r"MAKE.*|MFLAGS|_|SHLVL|PWD|OLDPWD|PATH|LABCTL_.*|SIM|WAVES|SIM_BUILD")


def concerns_cocotb(path: Path) -> bool:
    """Tell whether the Makefile ``path`` may be one of a cocotb project, by a glance at it."""
    try:
        with path.open("rb") as stream:
            return bool(_MENTION.search(stream.read(256 * 1024)))
    except OSError:
        return False


def claims(folder: Path, names: Collection[str]) -> list[str]:
    """Return the Makefile that make would choose, if it may be one of a cocotb project."""
    name = next((one for one in FILE_NAMES if one in names), None)
    return [name] if name and concerns_cocotb(folder / name) else []


def read_all(root: Path, paths: Sequence[Path], simulator: str) -> Iterator[Core | Problem]:
    """Yield a core for each Makefile that describes one."""
    for path in paths:
        folder = path.parent.relative_to(root)
        try:
            name = str(folder) if folder.parts else root.name
            core = read_makefile(path, name, simulator)
        except UsageError as error:
            yield Problem(path, str(error))
        else:
            if core:
                yield core


def read_makefile(path: Path, name: str, simulator: str = "icarus") -> Core | None:
    """Return the core that the Makefile ``path`` describes; None if it describes none.

    Args:
        path: The Makefile.
        name: How the core is called.
        simulator: The one that it is asked about.

    Raises:
        UsageError: make refuses it, or it is of a kind that cannot be run here.
        DependencyError: make is not installed.
    """
    said, exported = _ask_make(path, simulator)
    if simulator != "ghdl" and said["VHDL_SOURCES"] and not said["VERILOG_SOURCES"]:
        simulator = "ghdl"
        said, exported = _ask_make(path, simulator)
    top = said["COCOTB_TOPLEVEL"] or said["TOPLEVEL"]
    modules = re.split(r"[,\s]+", said["COCOTB_TEST_MODULES"] or said["MODULE"])
    modules = [one for one in modules if one]
    if not top or not modules:
        return None
    folder = path.parent
    words = shlex.split(said["VERILOG_SOURCES"]) or shlex.split(said["VHDL_SOURCES"])
    sources = [folder / one for one in words]
    if not sources:
        raise UsageError("it has no sources", thing=shown_path(path))
    python = [folder, *map(Path, exported.pop("PYTHONPATH", "").split(os.pathsep))]
    python = list(dict.fromkeys(folder / one for one in python if str(one) not in ("", ".")))
    return Core(
        name=name,
        path=path,
        description="",
        top=top.split()[0],
        sources=tuple(Path(os.path.normpath(one)) for one in sources),
        include=tuple(folder / one for one in shlex.split(said["VERILOG_INCLUDE_DIRS"])),
        flags=tuple(_flags(said["COMPILE_ARGS"]) + _flags(said["EXTRA_ARGS"])),
        tests=_tests(modules, python),
        python=tuple(python),
        environment=exported,
        plusargs=tuple(
            one
            for one in shlex.split(said["COCOTB_PLUSARGS"] or said["PLUSARGS"])
            if one not in _FORMATS
        ),
        timescale=f"{said['COCOTB_HDL_TIMEUNIT'] or '1ns'}/"
        f"{said['COCOTB_HDL_TIMEPRECISION'] or '1ps'}",
        timeout_s=_TIMEOUT_S,
        memory_mib=4096,
        beside=folder,
        simulators=(simulator,),
        kind="makefile",
    )


def _flags(text: str) -> list[str]:
    words = shlex.split(text)
    # cocotb's own rules, where they were read: a file with the time scale, which we give, too.
    own = {
        at + shift
        for at, one in enumerate(words)
        if one == "-f" and words[at + 1 : at + 2] and words[at + 1].endswith("/cmds.f")
        for shift in (0, 1)
    }
    return [one for at, one in enumerate(words) if at not in own and one != "-g2012"]


def _tests(modules: list[str], python: list[Path]) -> tuple[TestCase, ...]:
    found: list[TestCase] = []
    for module in modules:
        places = [one / (module.replace(".", "/") + ".py") for one in python]
        path = next((one for one in places if one.is_file()), None)
        if path is None:
            # It may come from an installed package; running it will tell.
            found.append(TestCase(module, "", places[0], 1))
            continue
        try:
            found += read_tests(path, module)
        except (SyntaxError, InventoryError) as error:
            raise UsageError(clean_line(str(error)), thing=shown_path(path)) from None
    return tuple(found)


def _ask_make(path: Path, simulator: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables of a Makefile, and what it exports to what it runs."""
    make = shutil.which("make")
    if make is None:
        raise DependencyError("make is not installed", thing="make", action="apt install make")
    with tempfile.TemporaryDirectory(prefix="labctl-make-") as name:
        scratch = Path(name)
        exports = scratch / "exports"
        _write_helpers(scratch)
        given = {
            **environment(),
            "PATH": f"{scratch}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "LABCTL_EXPORTS": str(exports),
            "SIM": simulator,
            "WAVES": "0",
        }
        code, output = run_bounded(
            [make, "--no-print-directory", "-f", path.name, "-f", str(scratch / "print.mk"),
             "labctl-print"],
            cwd=path.parent, deadline_s=_DEADLINE_S, env=given,
        )  # fmt: skip
        text = clean(output)
        if code != 0:
            lines = [line for line in text.splitlines() if "***" in line] or text.splitlines()
            why = lines[-1] if lines else "and says nothing"
            cause = f"make does not come to an end in {_DEADLINE_S:.0f} s" if code is None else (
                f"make refuses it: {clean_line(why)}"
            )  # fmt: skip
            raise UsageError(cause, thing=shown_path(path))
        said = dict.fromkeys(_VARIABLES, "")
        for line in text.splitlines():
            if line.startswith(_MARK):
                key, _, value = line.removeprefix(_MARK).partition("=")
                said[key] = value.strip()
        return said, _exported(exports, given)


def _write_helpers(scratch: Path) -> None:
    """Write a ``cocotb-config`` that leads to an empty ``Makefile.sim``, and our target."""
    (scratch / "Makefile.sim").write_text("")
    (scratch / "Makefile.inc").write_text("")
    config = scratch / "cocotb-config"
    python = shlex.quote(sys.executable)
    config.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = --makefiles ] && {{ echo {shlex.quote(str(scratch))}; exit; }}\n'
        f'exec {python} -m cocotb_tools.config "$@"\n'
    )
    config.chmod(0o755)
    prints = "".join(f"$(info {_MARK}{name}=$(strip $({name})))" for name in _VARIABLES)
    (scratch / "print.mk").write_text(
        f'.PHONY: labctl-print\nlabctl-print:\n\t@{prints}env -0 > "$$LABCTL_EXPORTS"\n'
    )


def _exported(path: Path, given: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for entry in path.read_bytes().decode(errors="surrogateescape").split("\0"):
        key, equals, value = entry.partition("=")
        if equals and given.get(key) != value and not _MAKES.fullmatch(key):
            found[key] = value
    for key in ("COCOTB_RESULTS_FILE", "COCOTB_RANDOM_SEED", "RANDOM_SEED", "COCOTB_TESTCASE"):
        found.pop(key, None)  # ours to say
    return found
