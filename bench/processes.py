"""Run the programs that are timed: whole processes, as a person would start them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import DependencyError, LabctlError
from labctl.report.sanitize import clean

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".bench-venv" / "bin"
DEADLINE_S = 1800.0


@dataclass(frozen=True)
class Ended:
    """A process that ended well.

    Attributes:
        seconds: From before its start until its end was seen.
        output: What it printed on standard output.
    """

    seconds: float
    output: str


def labctl() -> str:
    """Return the ``labctl`` beside the Python that runs the benchmark."""
    return str(Path(sys.executable).parent / "labctl")


def peer(name: str) -> str:
    """Return the program ``name`` of the bench environment.

    Raises:
        DependencyError: It is not there.
    """
    program = PEERS / name
    if not program.is_file():
        raise DependencyError("is not in .bench-venv", thing=name, action="make bench-env")
    return str(program)


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    deadline: float = DEADLINE_S,
    fine: Collection[int] = (0,),
) -> Ended:
    """Run ``command`` to its end.

    Args:
        command: Program and arguments.
        environment: Variables to add to ours.
        folder: Where to run it.
        deadline: Seconds it may take.
        fine: Exit statuses that are no failure.

    Raises:
        LabctlError: It failed or took too long; says what it said last.
    """
    name = Path(command[0]).name
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **(environment or {})},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LabctlError(f"took more than {deadline:.0f} s", thing=name) from None
    seconds = time.perf_counter() - began
    if done.returncode not in fine:
        last = clean(done.stdout + done.stderr).strip()[-1500:]
        raise LabctlError(f"ended with status {done.returncode}:\n{last}", thing=name)
    return Ended(seconds, done.stdout)
