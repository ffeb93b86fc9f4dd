"""Make ``.bench-venv``: the peers of the benchmarks, in environments of their own.

labgrid and pytest-embedded have one each: labgrid brings pyserial-labgrid, whose package
``serial`` the other's pyserial would replace.

Versions are pinned, so that a figure can be compared with one taken earlier. Run by
``make bench-env``; a second run finds everything there and does nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path

from processes import ROOT

PINNED = {
    "": ("pyinfra==3.10.0", "ansible-core==2.19.14"),
    "labgrid": ("labgrid==26.0",),
    "pytest-embedded": ("pytest-embedded==2.9.3", "pytest-embedded-serial==2.9.3"),
}


def install(folder: Path, packages: tuple[str, ...]) -> int:
    """Make an environment and install ``packages`` with pip; return its exit status."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    sys.stdout.write(f"bench environment: {', '.join(packages)} into {folder}\n")
    sys.stdout.flush()
    return subprocess.run([*pip, *packages], check=False).returncode


def main() -> int:
    """Install the peers that are named, or all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("peer", nargs="*", help="labgrid, pytest-embedded (default: all)")
    names = parser.parse_args().peer or list(PINNED)
    statuses = [install(ROOT / ".bench-venv" / name, PINNED[name]) for name in names]
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
