"""The programs that a simulation needs: where they are, which version, and how to get them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import DependencyError
from labctl.inventory import kept

_ROOM = "fpga"
_NO_COCOTB = "pip install 'cocotb>=2.1,<2.2'"


@dataclass(frozen=True)
class Toolchain:
    """Icarus Verilog and cocotb.

    Attributes:
        iverilog: The compiler.
        vvp: The simulator.
        version: What the compiler says of itself, in one line.
        vpi: cocotb's library for it.
        gpi_users: Value of the variable of that name: the libraries that it loads.
    """

    iverilog: str
    vvp: str
    version: str
    vpi: str
    gpi_users: str


def find_toolchain() -> Toolchain:
    """Return what is installed.

    Finding it takes half a second, so it is kept until one of the files changes.

    Raises:
        DependencyError: Something is missing; the action installs it.
    """
    iverilog, vvp = shutil.which("iverilog"), shutil.which("vvp")
    if iverilog is None or vvp is None:
        raise DependencyError(
            "Icarus Verilog is not installed", thing="iverilog", action="apt install iverilog"
        )
    spec = importlib.util.find_spec("cocotb")
    tools = importlib.util.find_spec("cocotb_tools")
    if spec is None or spec.origin is None or tools is None:
        raise DependencyError("cocotb 2.1 is not installed", thing="cocotb", action=_NO_COCOTB)
    files = [Path(iverilog), Path(vvp), Path(spec.origin).with_name("_version.py"), Path(__file__)]
    key = kept.key_of(sys.executable, *files, code=[one for one in files if one.is_file()])
    data = kept.recall_reading(_ROOM, "toolchain", key)
    if data is None:
        data = _look(iverilog)
        kept.keep_reading(_ROOM, "toolchain", key, data)
    return Toolchain(iverilog, vvp, data["version"], data["vpi"], data["gpi_users"])


def _look(iverilog: str) -> dict[str, str]:
    import cocotb  # noqa: PLC0415
    import find_libpython  # noqa: PLC0415
    from cocotb_tools import config  # noqa: PLC0415

    if cocotb.__version__.split(".")[:2] != ["2", "1"]:
        raise DependencyError(
            f"this is version {cocotb.__version__}, and 2.1 is needed",
            thing="cocotb",
            action=_NO_COCOTB,
        )
    library = find_libpython.find_libpython()
    if library is None:
        raise DependencyError(
            "this Python has no shared library",
            thing=sys.executable,
            action="apt install libpython3-dev",
        )
    said = subprocess.run([iverilog, "-V"], capture_output=True, text=True, timeout=30, check=False)
    return {
        "version": (said.stdout.splitlines() or ["unknown"])[0],
        "vpi": str(config.lib_entry("vpi", "icarus")),
        "gpi_users": f"{library};{config.pygpi_entry_point()}",
    }


def environment() -> dict[str, str]:
    """Return the environment of this process without what would change a simulation unseen."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COCOTB_", "PYGPI_", "GPI_", "LABCTL_"))
    }
