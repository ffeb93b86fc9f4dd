"""Run a small Slurm cluster in a folder: one controller, several nodes, all on this machine.

The daemons are Debian's own. Nothing of the machine's Slurm or munge is read or written: key,
socket, configuration, state and logs are in the folder, ports are on 127.0.0.1. It needs root, as
slurmd does, and neither systemd nor cgroups. Source: slurm.conf(5), gres.conf(5), munged(8).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl import procs
from labctl.errors import DependencyError, LabctlError
from labctl.vlab.programs import find_program, require, tool_environment

PROGRAMS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "scontrol": "slurm-client",
}
_START_S = 60.0
_CLIENT_S = 30.0
_STOP_S = 10.0
_POLL_S = 0.05
# Device numbers of /dev/null (null(4)): slurmd wants a device file for each card and opens none.
_NULL = os.makedev(1, 3)

_CONF = """\
ClusterName=labctl
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
# Neither cgroups nor a sensible limit of memory where machines share one.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/backfill
# Batch jobs are looked at at once; as given, up to 3 s later.
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# A node that was away and comes back is used again.
ReturnToService=2
SlurmdParameters=config_overrides
GresTypes=gpu
KillWait=5
MailProg=/bin/true
{nodes}
PartitionName=lab Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Node:
    """A node of the cluster.

    Attributes:
        name: Its name in Slurm.
        cpus: How many processors Slurm may give away there, whatever the machine has.
        gpus: How many cards it has; their files are ``dev/nvidia0`` and up in the folder.
    """

    name: str
    cpus: int = 1
    gpus: int = 0


def why_not() -> str:
    """Return why a cluster cannot run here, or nothing."""
    if os.geteuid() != 0:
        return "slurmd needs root"
    try:
        require(PROGRAMS)
    except DependencyError as error:
        return f"{error.cause}; {error.action}"
    return ""


class Cluster:
    """A running cluster.

    Args:
        folder: An empty folder that other users may enter, as jobs of theirs read in it.
        nodes: Its nodes.

    Raises:
        DependencyError: A daemon is not installed.
        LabctlError: A daemon did not start; the message quotes its log.
    """

    def __init__(self, folder: Path, nodes: Sequence[Node]) -> None:
        require(PROGRAMS)
        self.folder = folder
        self.nodes = {node.name: node for node in nodes}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._write_files()
        try:
            self._start_munge()
            self._start("slurmctld", "slurmctld", "-D", "-f", str(self.conf))
            for name in self.nodes:
                self.start_node(name)
            self._until(self._all_idle, "the nodes did not register")
        except BaseException:
            self.stop()
            raise

    @property
    def conf(self) -> Path:
        """Its slurm.conf."""
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """What makes Slurm's clients speak with this cluster, beside the caller's environment."""
        return {"SLURM_CONF": str(self.conf)}

    def client(self, *command: str, check: bool = True) -> str:
        """Run a client of Slurm, such as ``squeue -h``, and return what it printed.

        Raises:
            LabctlError: It failed, and ``check`` is set.
        """
        done = subprocess.run(
            command, env=self._env(), capture_output=True, text=True, timeout=_CLIENT_S,
            check=False, stdin=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
        if check and done.returncode != 0:
            raise LabctlError(done.stderr.strip()[-300:] or "it failed", thing=command[0])
        return done.stdout

    def start_node(self, name: str) -> None:
        """Start the slurmd of the node ``name``."""
        self._start(name, "slurmd", "-D", "-N", name, "-f", str(self.conf))

    def cut_node(self, name: str) -> None:
        """End all that runs on a node at once, as if its power went; Slurm is told it is down.

        Slurm itself would take ``SlurmdTimeout`` (300 s) to find out.
        """
        daemon = self._daemons.pop(name)
        daemon.kill()
        daemon.wait()
        for process in self._of_jobs(name):
            _send(process, signal.SIGKILL)
        self.client("scontrol", "update", f"nodename={name}", "state=down", "reason=power cut")

    def stop(self) -> None:
        """End every job and every daemon of this cluster, and nothing else."""
        munge = self._daemons.pop("munged", None)
        for daemon in self._daemons.values():
            daemon.terminate()
        for daemon in self._daemons.values():
            _end(daemon)
        self._daemons.clear()
        if munge is not None:  # the last one: the others cannot speak without it
            munge.terminate()
            _end(munge)
        for process in self._of_jobs():
            _send(process, signal.SIGKILL)
            procs.wait_gone(process, timeout_s=_STOP_S)

    def _env(self) -> dict[str, str]:
        return {**tool_environment(), **self.environment}

    def _write_files(self) -> None:
        for name in ("state", "dev"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        host = socket.gethostname()
        ports = _free_ports(1 + len(self.nodes))
        lines, cards, first = [], [], 0
        for port, node in zip(ports[1:], self.nodes.values(), strict=True):
            gres = f" Gres=gpu:{node.gpus}" if node.gpus else ""
            lines.append(
                f"NodeName={node.name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
                f"CPUs={node.cpus}{gres} State=UNKNOWN"
            )
            for number in range(first, first + node.gpus):
                file = self.folder / "dev" / f"nvidia{number}"
                os.mknod(file, stat.S_IFCHR | 0o666, _NULL)
                cards.append(f"NodeName={node.name} Name=gpu File={file}")
            first += node.gpus
        (self.folder / "gres.conf").write_text("".join(f"{card}\n" for card in cards))
        self.conf.write_text(
            _CONF.format(host=host, port=ports[0], folder=self.folder, nodes="\n".join(lines))
        )

    def _start_munge(self) -> None:
        folder = self.folder
        self._start(
            "munged", "munged", "--foreground", "--force", f"--socket={folder}/munge.socket",
            f"--key-file={folder}/munge.key", f"--pid-file={folder}/munge.pid",
            f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed",
        )  # fmt: skip
        self._until((folder / "munge.socket").exists, "munged did not start")

    def _start(self, name: str, program: str, *arguments: str) -> None:
        path = find_program(program)
        assert path is not None  # `require` has looked
        with (self.folder / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                [path, *arguments], env=self._env(), stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, cwd="/", start_new_session=True,
            )  # fmt: skip

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _START_S
        while not condition():
            dead = [name for name, one in self._daemons.items() if one.poll() is not None]
            if dead or time.monotonic() > deadline:
                said = [
                    (self.folder / f"{name}.out").read_text(errors="replace")[-300:]
                    for name in dead
                ]
                raise LabctlError(": ".join([what, *said]), thing="Slurm of the lab")
            time.sleep(_POLL_S)

    def _all_idle(self) -> bool:
        said = self.client("sinfo", "-h", "-N", "-o", "%N %T", check=False).split()
        return said[1::2] == ["idle"] * len(self.nodes)

    def _of_jobs(self, node: str = "") -> list[procs.ProcessId]:
        """Return the jobs' processes (those on ``node``) and their slurmstepds, these first.

        Only what a node started has the name of the node in its environment, and slurmstepd, which
        is its parent, has the name of our configuration alone.
        """
        own = f"SLURM_CONF={self.conf}".encode()
        tasks, keepers = [], {}
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                words = Path(entry.path, "environ").read_bytes().split(b"\0")
                found = procs.identify(int(entry.name)) if own in words else None
                if found is None:
                    continue
                places = [one[16:] for one in words if one.startswith(b"SLURMD_NODENAME=")]
                if places and node.encode() in (b"", places[0]):
                    tasks.append(found)
                elif Path(entry.path, "comm").read_text().strip() == "slurmstepd":
                    keepers[found.pid] = found
        parents = {_parent(task.pid) for task in tasks}
        chosen = [one for pid, one in keepers.items() if not node or pid in parents]
        return [*chosen, *tasks]


def _parent(pid: int) -> int:
    """Return the parent of ``pid``, 0 if it has gone (proc_pid_stat(5), field 4)."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _send(process: procs.ProcessId, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(process.pid)
        try:
            if procs.alive(process):
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    try:
        daemon.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


@contextlib.contextmanager
def running(folder: Path, nodes: Sequence[Node]) -> Iterator[Cluster]:
    """Give a cluster in ``folder`` while the block runs."""
    cluster = Cluster(folder, nodes)
    try:
        yield cluster
    finally:
        cluster.stop()
