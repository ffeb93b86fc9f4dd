"""Make ``.bench-venv``: the peers of the benchmarks, in an environment of their own.

Versions are pinned, so that a figure can be compared with one taken earlier. Run by
``make bench-env``; a second run finds everything there and does nothing.
"""

from __future__ import annotations

import subprocess
import sys
import venv

from processes import PEERS, ROOT

PINNED = ("pyinfra==3.10.0", "ansible-core==2.19.14")


def main() -> int:
    """Make the environment and install the peers with pip."""
    folder = ROOT / ".bench-venv"
    if not (PEERS / "python").exists():
        venv.create(folder, with_pip=True)
    pip = [str(PEERS / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    sys.stdout.write(f"bench environment: {', '.join(PINNED)} into {folder}\n")
    sys.stdout.flush()
    return subprocess.run([*pip, *PINNED], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
