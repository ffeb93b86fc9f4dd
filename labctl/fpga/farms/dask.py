"""Dask: each group is a task on a worker, which starts an element as a process of its own.

The process, and not a thread of the worker, as it can be ended and has the environment of who
called. Dask runs a task again when its worker has gone; the element then finds that it was started
before, and `collect` gives its group to a new one. Source: distributed's documentation of Client,
Future and LocalCluster (2024 and later).
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl.errors import DependencyError, UnreachableError
from labctl.fpga.farms import groups
from labctl.report.sanitize import clean_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONNECT_S = 10.0
# Elements look whether they are wanted each second, and then end their simulation.
_GONE_S = 60.0
_ELEMENT = "labctl.fpga.farms.element"
_LINE = 300


def run_element(folder: str, number: int, name: str, environment: Mapping[str, str]) -> None:
    """Run an element on the machine of a worker.

    Raises:
        RuntimeError: It failed; the message is its last words.
    """
    done = subprocess.run(
        [sys.executable, "-m", _ELEMENT, folder, str(number), name], env=dict(environment),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        errors="replace", check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])


class DaskFarm:
    """Elements in Dask.

    Args:
        folder: The folder of the groups.
        jobs: At most so many at a time, on a cluster of our own; None for one for each processor.
        address: Of the scheduler; a cluster on this machine if empty.

    Raises:
        DependencyError: distributed is not installed.
        UnreachableError: There is no scheduler.
    """

    def __init__(self, folder: Path, jobs: int | None, address: str) -> None:
        try:
            distributed: Any = importlib.import_module("distributed")
        except ImportError:
            raise DependencyError(
                "Dask is not installed",
                thing="dask",
                action="pip install 'labctl-suite[dask]'",
            ) from None
        self._folder = folder
        self._environment = _absolute(os.environ)
        self._futures: dict[str, Any] = {}
        self._cluster: Any = None
        # What it has to say of workers that are lost is said by us.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        if not address:
            self._cluster = distributed.LocalCluster(
                n_workers=1, threads_per_worker=jobs or len(os.sched_getaffinity(0)),
                processes=False, dashboard_address=None, silence_logs=logging.CRITICAL,
            )  # fmt: skip
        try:
            self._client: Any = distributed.Client(self._cluster or address, timeout=_CONNECT_S)
        except (OSError, ValueError) as error:
            raise UnreachableError(
                f"no scheduler of Dask answers: {clean_line(str(error), limit=_LINE)}",
                thing=address,
                action="start one with 'dask scheduler', or name another with --address",
            ) from None

    def slots(self) -> int:
        """Return how many threads the workers have."""
        threads: dict[str, int] = self._client.nthreads()
        return max(1, sum(threads.values()))

    def submit(self, numbers: range) -> None:
        """Give Dask a task for each of ``numbers``; see `labctl.fpga.farms.base.Farm`."""
        for number in numbers:
            name = f"{self._folder.parent.name}-{number}"
            self._futures[name] = self._client.submit(
                run_element, str(self._folder), number, name, self._environment,
                key=f"labctl-{name}", pure=False, retries=0,
            )  # fmt: skip

    def living(self) -> frozenset[str]:
        """Return the elements that Dask has not ended."""
        return frozenset(name for name, one in self._futures.items() if one.status == "pending")

    def why(self, name: str) -> str:
        """Return what Dask says of the element, or of one that failed."""
        names = [name] if name in self._futures else list(self._futures)
        for one in names:
            future = self._futures[one]
            if future.status == "error":
                error = future.exception(timeout=_CONNECT_S)
                return f"Dask says {clean_line(f'{type(error).__name__}: {error}', limit=_LINE)}"
        return ""

    def close(self, *, cancel: bool) -> None:
        """End; with ``cancel`` all that waits or runs."""
        if cancel:
            groups.stop(self._folder)
            with contextlib.suppress(Exception):
                self._cancel()
        with contextlib.suppress(Exception):  # it has no say in what was found
            self._client.close(timeout=_CONNECT_S)
        if self._cluster is not None:
            self._cluster.close(timeout=_CONNECT_S)

    def _cancel(self) -> None:
        """Take back what no worker has begun, and wait for the rest to see that it is to end."""
        running = {key for keys in self._client.processing().values() for key in keys}
        waiting = [one for one in self._futures.values() if one.key not in running]
        self._client.cancel(waiting)
        deadline = time.monotonic() + _GONE_S
        while self.living() and time.monotonic() < deadline:
            time.sleep(0.1)


def _absolute(environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` for a process with another working directory."""
    python = environment.get("PYTHONPATH", "")
    parts = [str(Path(one).absolute()) for one in python.split(os.pathsep) if one]
    return {**environment, **({"PYTHONPATH": os.pathsep.join(parts)} if parts else {})}
