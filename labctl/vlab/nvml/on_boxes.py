"""What puts simulated cards on a machine of the lab: the library, the tool, and a scenario.

Both are compiled once and kept in the cache under the digest of their sources. Every card that they
show is called "(simulated)".
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
from pathlib import Path

from labctl.errors import LabctlError, UsageError
from labctl.paths import cache_dir, make_private
from labctl.vlab.nvml.build import LIBRARY, SOURCE, TOOL, TOOL_SOURCE, build, build_tool

SCENARIOS = Path(__file__).with_name("scenarios")
_SUFFIX = ".scenario"
# Where Debian's libnvidia-ml1 (amd64) has it; the place of nvidia-smi is that of local programs.
_FILES = {LIBRARY: "usr/lib/x86_64-linux-gnu", TOOL: "usr/local/bin"}
# nvml.c looks for it there.
_SCENARIO = "etc/labctl/nvml.scenario"

Files = dict[str, tuple[bytes, int]]


def shipped() -> list[str]:
    """Return the names of the scenarios that labctl brings along."""
    return sorted(path.stem for path in SCENARIOS.glob(f"*{_SUFFIX}"))


def find_scenario(name: str, folder: Path) -> Path:
    """Return the scenario ``name``: one that labctl brings along, or a file.

    Args:
        name: A name, or a path.
        folder: Where a relative path begins.

    Raises:
        UsageError: There is none.
    """
    if name in shipped():
        return SCENARIOS / f"{name}{_SUFFIX}"
    path = folder / Path(name).expanduser()
    if not path.is_file():
        raise UsageError(
            "no such scenario of cards", thing=name,
            action=f"give a file, or one of: {', '.join(shipped())}",
        )  # fmt: skip
    return path


def files(scenario: Path) -> Files:
    """Return the files of a box with the cards of ``scenario``: path -> (content, mode).

    Raises:
        DependencyError: There is no C compiler.
        LabctlError: It did not compile, or the scenario cannot be read.
    """
    try:
        text = scenario.read_bytes()
    except OSError as error:
        raise LabctlError(error.strerror or str(error), thing=str(scenario)) from error
    built = _built()
    found: Files = {_SCENARIO: (text, 0o644)}
    for name, place in _FILES.items():
        found[f"{place}/{name}"] = ((built / name).read_bytes(), 0o755)
    return found


def _built() -> Path:
    """Return the folder with both, compiled where the cache does not have them."""
    if platform.machine() != "x86_64":
        raise LabctlError(
            f"boxes are amd64, and what is compiled here is for {platform.machine()}",
            thing="simulated cards", action="remove 'gpus' from the inventory",
        )  # fmt: skip
    digest = hashlib.sha256(SOURCE.read_bytes() + TOOL_SOURCE.read_bytes()).hexdigest()[:16]
    folder = make_private(cache_dir() / "nvml") / digest
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            work = Path(name) / "new"
            work.mkdir()
            build(work)
            build_tool(work)
            try:
                work.rename(folder)
            except OSError:  # another labctl was quicker
                shutil.rmtree(work)
    return folder
