"""``labctl gpu`` on a machine that is a node of a real Slurm, with simulated cards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from slurm_lab import small_cluster

from labctl.errors import DependencyError
from labctl.vlab.nvml.build import SCENARIO_VARIABLE, build
from labctl.vlab.slurm.cluster import Cluster, Node, why_not

GIB = 1 << 30


def card(index: int, *lines: str) -> str:
    return "\n".join(
        [
            "card", "name NVIDIA Test 80GB", f"uuid GPU-{index}",
            f"pci 00000000:{index + 1:02x}:00.0", f"minor {index}", f"memory_total {80 * GIB}",
            "memory_reserved 500000000", "memory_used 0", "utilisation 0", *lines, "",
        ]
    )  # fmt: skip


@dataclass
class Bench:
    """This machine as a node: three cards, of which Slurm has the first two."""

    cluster: Cluster
    folder: Path
    environment: dict[str, str]

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "labctl", "gpu", *words],
            env={**self.environment, **more},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **more: str) -> tuple[int, str, str]:
        process = self.start(*words, **more)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def units(self) -> list[dict[str, Any]]:
        _, out, err = self.run("local", "--json")
        assert out, err
        units: list[dict[str, Any]] = json.loads(out)["hosts"][0]["units"]
        return units

    def states(self) -> list[str]:
        return [unit["state"] for unit in self.units()]

    def submit(self, *words: str) -> str:
        """Submit a job that waits for an end, and return its id once it runs."""
        job = self.cluster.client(
            "sbatch", "--parsable", "--gres=gpu:1", "--chdir=/", f"--output={self.folder}/out",
            *words, "--wrap", "exec sleep 600",
        ).strip()  # fmt: skip
        until(lambda: self.cluster.client("squeue", "-h", "-j", job, "-o", "%T") == "RUNNING\n")
        return job


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with small_cluster(Node("g1", cpus=4, gpus=2), Node("n1")) as found:
        yield found


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build(tmp_path_factory.mktemp("nvml"))
    except DependencyError as error:
        pytest.skip(str(error))


@pytest.fixture
def bench(cluster: Cluster, library: Path, tmp_path: Path) -> Iterator[Bench]:
    scenario = tmp_path / "scenario"
    scenario.write_text("driver 999.1\n" + card(0) + card(1) + card(2))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LD_LIBRARY_PATH": str(library.parent),
        SCENARIO_VARIABLE: str(scenario),
        "LABCTL_GPU_DB": str(tmp_path / "gpu.sqlite"),
        **cluster.environment,
    }
    yield Bench(cluster, tmp_path, environment)
    cluster.client("scancel", "--state=PENDING", "--user=root", check=False)
    for job in cluster.client("squeue", "-h", "-o", "%A").split():
        cluster.client("scancel", job, check=False)
    until(lambda: cluster.client("squeue", "-h") == "")


def test_cards_show_to_which_job_slurm_has_given_them(bench: Bench) -> None:
    assert bench.states() == ["free", "free", "free"]
    job = bench.submit("--job-name=x UserId=mallory(1) Nodes=g1 CPU_IDs=0 Mem=0 GRES=gpu:1(IDX:1)")
    first, second, third = bench.units()
    assert (first["state"], second["state"], third["state"]) == ("booked", "free", "free")
    assert first["why"] == f"Slurm job {job} of root"
    assert first["who"] == f"root (Slurm job {job})"
    assert first["slurm"]["job"] == job
    assert second["slurm"]["kind"] == "free"
    assert third["slurm"] is None  # no card of Slurm's
    code, out, _ = bench.run("free", "local", "--count", "3")
    assert (code, out) == (1, "")


def test_a_drained_node_has_no_free_card(bench: Bench) -> None:
    update = ("scontrol", "update", "nodename=g1")
    bench.cluster.client(*update, "state=drain", "reason=bad fan")
    try:
        units = bench.units()
        code, out, _ = bench.run("free", "local")
    finally:
        bench.cluster.client(*update, "state=resume")
    assert [unit["state"] for unit in units] == ["sick", "sick", "free"]
    assert "DRAIN" in units[0]["why"]
    assert "bad fan" in units[0]["why"]
    assert (code, out.split()[:3]) == (0, ["local", "2", "GPU-2"])


def test_run_goes_through_slurm_and_ends_as_the_command_does(bench: Bench) -> None:
    # Three cards cannot be had; two can, of Slurm alone, which chooses and pins.
    said = "echo $CUDA_VISIBLE_DEVICES $SLURMD_NODENAME; exit 7"
    code, out, err = bench.run("run", "--count", "2", "--", "sh", "-c", said)
    assert (code, out) == (7, "0,1 g1\n"), err
    assert "labctl: Slurm, job labctl-gpu-" in err
    # The card that is not Slurm's is had without it.
    code, out, err = bench.run("run", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    assert (code, out) == (0, "GPU-2\n"), err
    assert bench.cluster.client("squeue", "-h") == ""


def test_what_ends_labctl_cancels_the_job(bench: Bench) -> None:
    file = bench.folder / "pid"
    process = bench.start("run", "--count", "2", "--", "sh", "-c", "echo $$ > pid; sleep 600")
    until(lambda: file.is_file() and file.read_text())
    # Another one waits in the queue; it is taken back as well.
    waiting = bench.start("run", "--count", "2", "--", "true")
    until(lambda: "PENDING" in bench.cluster.client("squeue", "-h", "-o", "%T"))
    for one, number in ((waiting, signal.SIGINT), (process, signal.SIGTERM)):
        one.send_signal(number)
        one.communicate(timeout=120)
        assert one.returncode == 130
    until(lambda: bench.cluster.client("squeue", "-h") == "")
    until(lambda: not Path(f"/proc/{file.read_text().strip()}").exists())


def test_a_job_that_does_not_start_in_time_is_given_up(bench: Bench) -> None:
    bench.submit()
    code, _, err = bench.run("run", "--count", "2", "--timeout", "1s", "--", "true")
    assert code == 1
    assert "busy" in err
    assert len(bench.cluster.client("squeue", "-h").splitlines()) == 1


def test_booking_is_a_reservation_of_the_node(bench: Bench) -> None:
    code, _, err = bench.run("book", "local:0", "--for", "1h")
    assert code == 2
    assert "Slurm reserves whole nodes" in err
    assert "local:0 local:1" in err
    code, out, err = bench.run("book", "local:0", "local:1", "--for", "1h", SUDO_USER="nobody")
    assert code == 0, err
    try:
        assert "Slurm reservation labctl_nobody_g1" in out
        # Once more: it lasts longer.
        code, _, err = bench.run("book", "local:0", "local:1", "--for", "2h", SUDO_USER="nobody")
        assert code == 0, err
        first = bench.units()[0]
        assert first["state"] == "booked"
        assert "reserved in Slurm for nobody" in first["why"]
    finally:
        code, _, err = bench.run("release", "local", SUDO_USER="nobody")
    assert code == 0, err
    assert bench.states() == ["free", "free", "free"]


def test_slurm_that_does_not_answer_makes_its_cards_unknown(bench: Bench, tmp_path: Path) -> None:
    # The same configuration, but for the port: nobody listens there (tcpmux).
    lines = bench.cluster.conf.read_text().splitlines()
    wrong = ["SlurmctldPort=1" if one.startswith("SlurmctldPort=") else one for one in lines]
    conf = tmp_path / "slurm.conf"
    conf.write_text("\n".join([*wrong, "MessageTimeout=2", ""]))
    bench.environment["SLURM_CONF"] = str(conf)
    units = bench.units()
    assert {unit["state"] for unit in units} == {"unknown"}
    assert "under Slurm" in units[0]["why"]
    assert bench.run("free", "local")[0] == 1


@pytest.fixture
def by_ssh(bench: Bench) -> Iterator[str]:
    """Return an inventory whose host ``box`` is this machine by SSH, on a test's own sshd."""
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if sshd is None or not Path("/run/sshd").is_dir():
        pytest.skip("no sshd: apt-get install openssh-server")
    folder = bench.folder
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)],
            check=True,
            timeout=60,
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = ("LD_LIBRARY_PATH", SCENARIO_VARIABLE, "SLURM_CONF")
    given = " ".join(f"{name}={bench.environment[name]}" for name in names)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nPasswordAuthentication no\n"
        f"SetEnv {given}\n"
    )
    host = {
        "address": "127.0.0.1",
        "port": port,
        "user": "root",
        "identity_files": [str(folder / "user")],
        "host_keys": [" ".join((folder / "host.pub").read_text().split()[:2])],
        "slurm_node": "g1",
    }
    inventory = folder / "inventory.yaml"
    inventory.write_text(f"version: 1\nhosts:\n  box: {json.dumps(host)}\n")

    def listens() -> bool:
        with socket.socket() as asks:
            return asks.connect_ex(("127.0.0.1", port)) == 0

    server = subprocess.Popen(
        [sshd, "-D", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL
    )
    try:
        until(listens)
        yield str(inventory)
    finally:
        server.terminate()
        server.wait(30)


def test_run_goes_through_slurm_of_another_host(bench: Bench, by_ssh: str) -> None:
    # This machine itself is not under Slurm then.
    del bench.environment["SLURM_CONF"]
    bench.environment["LABCTL_INVENTORY"] = by_ssh
    words = ("run", "--on", "box", "--deadline", "120", "--count", "2", "--", "sh", "-c")
    code, out, err = bench.run(*words, "echo $CUDA_VISIBLE_DEVICES $SLURMD_NODENAME; exit 7")
    assert code == 7, out + err
    assert "0,1 g1" in out.splitlines()
    assert "from box" in err
    file = bench.folder / "pid"
    process = bench.start(*words, f"echo $$ > {file}; sleep 600")
    until(lambda: file.is_file() and file.read_text())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 130
    until(lambda: bench.cluster.client("squeue", "-h") == "")
    until(lambda: not Path(f"/proc/{file.read_text().strip()}").exists())
