"""Slurm: each group is an element of a job array.

Account, partition, time and memory are what ``sbatch`` takes from its own variables
(``SBATCH_PARTITION``, ``SBATCH_ACCOUNT``, ``SBATCH_TIMELIMIT``, ...). Jobs are found by a name that
is used once, so that also one whose submission was interrupted is cancelled. Source:
sbatch(1), squeue(1), scancel(1), slurm.conf(5), of Slurm 22.05.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import subprocess
import sys
import time
from pathlib import Path

from labctl.errors import BusyError, DependencyError, LabctlError, UnreachableError
from labctl.report.sanitize import clean_line

# Array indices are below MaxArraySize, which is 1001 where nobody changed it.
_IN_ONE_ARRAY = 1000
_CALL_S = 60.0
# A controller that is started anew or busy answers again; one that is away for so long does not.
_AWAY_S = 600.0
# Slurm gives processes KillWait (30 s as given) between SIGTERM and SIGKILL, then cleans up.
_GONE_S = 90.0
_LINE = 300
_ENVIRONMENT = "labctl-fpga"


class SlurmFarm:
    """Elements in Slurm.

    Args:
        folder: The folder of the groups; elements print into it.
        jobs: At most so many at a time; None for as many as Slurm allows.

    Raises:
        DependencyError: Slurm's commands are not here.
    """

    def __init__(self, folder: Path, jobs: int | None) -> None:
        self._folder = folder
        self._jobs = jobs
        self._name = f"{_ENVIRONMENT}-{secrets.token_hex(6)}"
        self._answered = time.monotonic()

    def slots(self) -> int:
        """Return how many processors the partition has that are not down; at most ``jobs``."""
        partition = os.environ.get("SBATCH_PARTITION", "")
        chosen = ["-p", partition] if partition else []
        found = 0
        for line in _call("sinfo", "-h", "-o", "%P %C", *chosen).splitlines():
            name, _, counts = line.partition(" ")
            numbers = counts.split("/")  # allocated, idle, other, total
            if (partition or name.endswith("*")) and len(numbers) == 4:
                found += sum(int(one) for one in numbers[:2] if one.isdigit())
        return max(1, min(found or 1, self._jobs or found or 1))

    def submit(self, numbers: range) -> None:
        """Submit an array for ``numbers``; see `labctl.fpga.farms.base.Farm`."""
        for first in range(numbers.start, numbers.stop, _IN_ONE_ARRAY):
            last = min(first + _IN_ONE_ARRAY, numbers.stop) - first - 1
            limit = f"%{self._jobs}" if self._jobs else ""
            _call(
                "sbatch", "--parsable", f"--job-name={self._name}", f"--array=0-{last}{limit}",
                # What was lost is given to a new element; Slurm would wait two minutes.
                "--no-requeue", "--ntasks=1", "--cpus-per-task=1", "--export=ALL",
                f"--chdir={self._folder}", f"--output={self._folder}/element-%A_%a.out",
                stdin=self._script(first),
            )  # fmt: skip

    def _script(self, first: int) -> str:
        words = [sys.executable, "-m", "labctl.fpga.farms.element", str(self._folder)]
        return (
            "#!/bin/sh\n"
            f"exec {shlex.join(words)} $(({first} + SLURM_ARRAY_TASK_ID)) "
            '"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"\n'
        )

    def living(self) -> frozenset[str] | None:
        """Return the elements in Slurm's queue; see `labctl.fpga.farms.base.Farm`.

        Raises:
            UnreachableError: The controller has not answered for ten minutes.
        """
        try:
            listed = self._queue()
        except LabctlError as error:
            if time.monotonic() - self._answered > _AWAY_S:
                raise UnreachableError(
                    f"Slurm has not answered for {_AWAY_S / 60:.0f} minutes: {error.cause}",
                    thing="squeue",
                ) from None
            return None
        self._answered = time.monotonic()
        # One that completes has ended, but for what a dead node owes the controller.
        return frozenset(name for name, state in listed if state != "COMPLETING")

    def _queue(self) -> list[tuple[str, str]]:
        said = _call("squeue", "-h", "-r", f"--name={self._name}", "-o", "%F_%K %T")
        pairs = [line.split() for line in said.splitlines()]
        return [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]

    def why(self, name: str) -> str:
        """Return how Slurm says that the element ended, and its last words."""
        parts = []
        if "_" in name:
            with contextlib.suppress(LabctlError):
                said = _call("scontrol", "-o", "show", "job", name)
                found = re.search(r"\bJobState=(\S+) Reason=(\S+)", said)
                if found:
                    parts.append(f"Slurm says {found[1]} ({found[2]})")
        with contextlib.suppress(OSError, IndexError):
            file = self._newest_output() if "_" not in name else f"element-{name}.out"
            text = (self._folder / file).read_text(errors="replace")
            parts.append(clean_line(text.strip().splitlines()[-1], limit=_LINE))
        return "; ".join(parts)

    def _newest_output(self) -> str:
        found = [path for path in self._folder.glob("element-*.out") if path.stat().st_size]
        return max(found, key=lambda path: path.stat().st_mtime).name if found else ""

    def close(self, *, cancel: bool) -> None:
        """Take out of the queue what waits, and with ``cancel`` what runs; see `Farm`.

        Raises:
            BusyError: Something is still in the queue; the message says what to do.
        """
        state = [] if cancel else ["--state=PENDING"]
        user = f"--user={os.getuid()}"
        with contextlib.suppress(LabctlError):
            _call("scancel", f"--name={self._name}", user, *state)
        deadline = time.monotonic() + _GONE_S
        while cancel and self._listed():
            if time.monotonic() > deadline:
                raise BusyError(
                    "jobs that were cancelled are still in Slurm's queue",
                    thing=self._name,
                    action=f"see 'squeue --name={self._name}'; "
                    f"'scancel --name={self._name}' cancels them",
                )
            time.sleep(0.2)

    def _listed(self) -> bool:
        try:
            return bool(self._queue())
        except LabctlError:
            return True  # not known; the deadline ends it


def _call(*command: str, stdin: str = "") -> str:
    """Run a command of Slurm and return what it printed.

    Raises:
        DependencyError: It is not installed.
        UnreachableError: The controller does not answer.
        LabctlError: It was refused; the message quotes Slurm.
    """
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=_CALL_S, check=False
        )
    except FileNotFoundError:
        raise DependencyError(
            "Slurm's commands are not on this machine",
            thing=command[0],
            action="run labctl on a machine that submits jobs, or apt install slurm-client",
        ) from None
    except subprocess.TimeoutExpired:
        raise UnreachableError(f"no answer within {_CALL_S:.0f} s", thing=command[0]) from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it failed"]
        # Each begins with the name of the command, as our message does.
        said = lines[-1].removeprefix(f"{command[0]}: ").removeprefix("error: ")
        raise LabctlError(clean_line(said, limit=_LINE), thing=command[0])
    return done.stdout
