"""What every simulator needs of this machine: cocotb, its libraries, a shared Python."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from labctl.errors import DependencyError
from labctl.inventory import kept

_ROOM = "fpga"
NO_COCOTB = "pip install 'cocotb>=2.1,<2.2'"


def need(program: str, title: str, action: str) -> str:
    """Return where ``program`` is.

    Raises:
        DependencyError: It is not installed.
    """
    path = shutil.which(program)
    if path is None:
        raise DependencyError(f"{title} is not installed", thing=program, action=action)
    return path


def cocotb_with(simulator: str, programs: Sequence[str], ask: Sequence[str]) -> dict[str, str]:
    """Return ``version``, ``library`` and ``gpi_users`` of a simulator.

    Finding them takes half a second, so it is kept until one of the files changes.

    Args:
        simulator: Its name with cocotb, such as ``icarus``.
        programs: What is installed of it.
        ask: The command that says its version.

    Raises:
        DependencyError: Something is missing; the action installs it.
    """
    spec = importlib.util.find_spec("cocotb")
    tools = importlib.util.find_spec("cocotb_tools")
    if spec is None or spec.origin is None or tools is None:
        raise DependencyError("cocotb 2.1 is not installed", thing="cocotb", action=NO_COCOTB)
    files = [*map(Path, programs), Path(spec.origin).with_name("_version.py"), Path(__file__)]
    facts = (sys.executable, *files)
    key = kept.key_of(*facts, code=[one for one in files if one.is_file()])
    data: dict[str, str] | None = kept.recall_reading(_ROOM, f"simulator {simulator}", key)
    if data is None:
        data = _look(simulator, ask)
        kept.keep_reading(_ROOM, f"simulator {simulator}", key, data)
    return data


def _look(simulator: str, ask: Sequence[str]) -> dict[str, str]:
    import cocotb  # noqa: PLC0415
    import find_libpython  # noqa: PLC0415
    from cocotb_tools import config  # noqa: PLC0415

    if cocotb.__version__.split(".")[:2] != ["2", "1"]:
        raise DependencyError(
            f"this is version {cocotb.__version__}, and 2.1 is needed",
            thing="cocotb",
            action=NO_COCOTB,
        )
    library = find_libpython.find_libpython()
    if library is None:
        raise DependencyError(
            "this Python has no shared library",
            thing=sys.executable,
            action="apt install libpython3-dev",
        )
    said = subprocess.run(ask, capture_output=True, text=True, timeout=30, check=False)
    return {
        "version": " / ".join(line.strip() for line in said.stdout.splitlines()[:3]) or "unknown",
        "library": str(config.lib_entry("vpi", simulator)),
        "libraries": str(config.libs_dir),
        "share": str(config.share_dir),
        "gpi_users": f"{library};{config.pygpi_entry_point()}",
    }
