"""Build the simulated ``libnvidia-ml.so.1`` and ``nvidia-smi`` with the machine's own compiler."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from labctl.errors import DependencyError, LabctlError

SOURCE = Path(__file__).with_name("nvml.c")
LIBRARY = "libnvidia-ml.so.1"
TOOL_SOURCE = Path(__file__).with_name("smi.c")
TOOL = "nvidia-smi"
SCENARIO_VARIABLE = "LABCTL_NVML_SCENARIO"
_COMPILE_S = 120


def build(folder: Path) -> Path:
    """Compile the library into ``folder`` and return its path; programs find it through
    ``LD_LIBRARY_PATH``, its scenario through `SCENARIO_VARIABLE`.

    Raises:
        DependencyError: There is no C compiler.
        LabctlError: It did not compile.
    """  # noqa: D205
    options = ["-fvisibility=hidden", "-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}"]
    return _compile(SOURCE, folder / LIBRARY, options)


def build_tool(folder: Path) -> Path:
    """Compile the program into ``folder`` and return its path; it needs no library.

    Raises:
        DependencyError: There is no C compiler.
        LabctlError: It did not compile.
    """
    return _compile(TOOL_SOURCE, folder / TOOL, ["-static"])


def _compile(source: Path, target: Path, options: Sequence[str]) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise DependencyError(
            "no C compiler", thing=target.name, action="apt-get install gcc libc6-dev"
        )
    command = [
        compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", *options,
        "-o", str(target), str(source), "-lpthread",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_S, check=False)
    if done.returncode != 0:
        raise LabctlError(done.stderr.strip()[-500:], thing=str(source))
    return target
