"""Regressions on a cluster: Debian's own Slurm daemons, and Dask's scheduler and workers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from slurm_lab import small_cluster

from labctl import procs
from labctl.errors import UnreachableError
from labctl.fpga.farms import dask as dask_farm
from labctl.vlab.slurm.cluster import Cluster, Node, why_not

DESIGNS = Path(__file__).parent / "designs"
pytestmark = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog is not installed: apt install iverilog"
)
DEADLINE_S = 240.0
REFUSED = "Batch job submission failed: "


@dataclass
class Bench:
    """Starts ``labctl fpga test`` with state of its own."""

    base: Path
    environment: dict[str, str]

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "labctl", "fpga", "test", "-C", str(DESIGNS), "--json", *words],
            env={**os.environ, **self.environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **more: str) -> tuple[int, dict[str, Any]]:
        return ended(self.start(*words, **more))


def ended(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    out, err = process.communicate(timeout=DEADLINE_S)
    assert out, err
    return process.returncode, json.loads(out)


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)
    return found


@dataclass
class Held:
    """The runs of the core ``held``: where they are, and what lets them end."""

    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        return {"HELD_FOLDER": str(self.folder)}

    def seen(self) -> list[tuple[str, int]]:
        """Return node and process of each run that has begun, in their order."""
        file = self.folder / "seen"
        lines = file.read_text().split("\n")[:-1] if file.is_file() else []
        return [(line.split()[0], int(line.split()[1])) for line in lines]

    def go(self) -> None:
        (self.folder / "go").touch()

    def all_gone(self) -> bool:
        return all(procs.identify(pid) is None for _, pid in self.seen())


@pytest.fixture
def held(tmp_path: Path) -> Held:
    return Held(tmp_path)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("xdg")
    return {f"XDG_{one}_HOME": str(folder / one.lower()) for one in ("CACHE", "STATE", "CONFIG")}


@pytest.fixture(scope="module")
def slurm() -> Iterator[Cluster]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with small_cluster(Node("n1"), Node("n2")) as cluster:
        yield cluster


@pytest.fixture
def on_slurm(slurm: Cluster, base: dict[str, str], tmp_path: Path) -> Bench:
    return Bench(tmp_path, {**base, **slurm.environment})


def test_slurm_finds_what_is_found_here(on_slurm: Bench, slurm: Cluster) -> None:
    words = ("test_fails_for_odd_seeds", "--seeds", "4", "--seed", "6")
    here, there = on_slurm.run(*words), on_slurm.run(*words, "--engine", "slurm")
    assert here[0] == there[0] == 1

    def told(run: dict[str, Any]) -> list[Any]:
        keys = ("id", "status", "message", "sim_ns", "cases")
        return [
            [job[key] if key != "cases" else len(job[key]) for key in keys] for job in run["jobs"]
        ]

    assert told(there[1]) == told(here[1])
    assert there[1]["summary"]["failed"] == 2
    failed = [job for job in there[1]["jobs"] if job["status"] == "failed"]
    assert any(job["waves"] for job in failed)
    assert all(Path(job["folder"], "log.txt").read_text() for job in failed)
    assert slurm.client("squeue", "-h") == ""


def test_a_node_that_is_lost_in_mid_run_loses_nothing(
    on_slurm: Bench, slurm: Cluster, held: Held
) -> None:
    process = on_slurm.start("held", "--seeds", "3", "--engine", "slurm", **held.variables)
    try:
        # Both nodes are at work; one of them loses its power.
        until(lambda: len({node for node, _ in held.seen()}) == 2)
        slurm.cut_node("n1")
        lost = [pid for node, pid in held.seen() if node == "n1"]
        until(lambda: all(procs.identify(pid) is None for pid in lost))
        held.go()
        code, run = ended(process)
    finally:
        process.kill()
        slurm.start_node("n1")
    assert (code, run["summary"]["passed"]) == (0, 3)
    # What was in flight there began again, elsewhere.
    assert [node for node, _ in held.seen()].count("n2") == 3
    assert slurm.client("squeue", "-h") == ""
    until(lambda: slurm.client("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * 2)


def test_a_cancelled_regression_leaves_nothing_in_slurm(
    on_slurm: Bench, slurm: Cluster, held: Held
) -> None:
    process = on_slurm.start("held", "--seeds", "9", "--engine", "slurm", **held.variables)
    try:
        until(lambda: len(held.seen()) >= 2)
        assert "PENDING" in slurm.client("squeue", "-h", "-r", "-o", "%T")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 130
    assert slurm.client("squeue", "-h") == ""
    assert held.all_gone()


def test_what_slurm_refuses_is_told(on_slurm: Bench) -> None:
    process = on_slurm.start("held", "--engine", "slurm", SBATCH_PARTITION="nowhere")
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert "sbatch: Invalid partition name specified" in err.replace(REFUSED, "")
    assert "Traceback" not in err


def test_slurm_that_is_not_there_is_told(on_slurm: Bench) -> None:
    process = on_slurm.start("held", "--engine", "slurm", PATH="/nowhere")
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2, err


@dataclass
class Dask:
    """A scheduler in this process, and workers that can be started and killed."""

    address: str
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def worker(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "dask", "worker", self.address, "--no-nanny", "--nthreads",
                "1", "--no-dashboard", "--host", "127.0.0.1", "--local-directory", str(self.folder),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
        )  # fmt: skip
        self.processes.append(process)
        return process


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    distributed = pytest.importorskip("distributed")
    # A scheduler and no worker of its own.
    cluster = distributed.LocalCluster(
        n_workers=0, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None
    )
    with cluster:
        lab = Dask(cluster.scheduler_address, tmp_path)
        yield lab
        for process in lab.processes:
            process.kill()
            process.wait()


@pytest.fixture
def on_dask(base: dict[str, str], tmp_path: Path) -> Bench:
    return Bench(tmp_path, base)


def test_dask_on_this_machine(on_dask: Bench) -> None:
    pytest.importorskip("distributed")
    words = ("test_fails_for_odd_seeds", "--seeds", "4", "--seed", "6", "--engine", "dask")
    code, run = on_dask.run(*words, "-j", "2", "--waves", "never")
    assert code == 1
    assert (run["summary"]["passed"], run["summary"]["failed"]) == (2, 2)


@pytest.mark.long
def test_a_worker_of_dask_that_is_killed_loses_nothing_and_cancelling_leaves_nothing(
    on_dask: Bench, dask: Dask, held: Held
) -> None:
    first = dask.worker()
    words = ("held", "--engine", "dask", "--address", dask.address)
    process = on_dask.start(*words, "--seeds", "2", **held.variables)
    try:
        until(lambda: len(held.seen()) == 1)
        dask.worker()
        first.kill()
        until(held.all_gone)  # the element goes with its worker
        held.go()
        code, run = ended(process)
    finally:
        process.kill()
    assert (code, run["summary"]["passed"]) == (0, 2)
    assert len(held.seen()) == 3
    (held.folder / "go").unlink()
    again = on_dask.start(*words, "--seeds", "4", **held.variables)
    try:
        until(lambda: len(held.seen()) == 4)
        again.send_signal(signal.SIGTERM)
        again.communicate(timeout=DEADLINE_S)
    finally:
        again.kill()
    assert again.returncode == 130
    assert held.all_gone()


def test_dask_without_a_scheduler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(dask_farm, "_CONNECT_S", 0.3)
    # Nobody listens on port 1 (tcpmux) of the loopback interface.
    with pytest.raises(UnreachableError, match="no scheduler of Dask answers") as told:
        dask_farm.DaskFarm(tmp_path, None, "tcp://127.0.0.1:1")
    assert "dask scheduler" in told.value.action
    assert told.value.exit_code == 3
