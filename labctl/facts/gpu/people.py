"""Who is behind a process: its user, its container's owner, who logged in.

A process in a container belongs to root as a rule. Its cgroup names the container or the Slurm job,
and ``/proc/PID/loginuid`` the person who logged in, which survives sudo and su.
Source: proc(5), cgroups(7), pam_loginuid(8), systemd's and Docker's names of cgroups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from labctl.facts.gpu import containers
from labctl.facts.gpu.containers import Container, read_containers, read_jobs
from labctl.facts.gpu.here import ENGINE_FORMAT, ENGINE_S
from labctl.facts.shell import PROLOGUE
from labctl.facts.value import Fact, Known, Reason, Unknown, absent

_NOT_REPORTED = absent("not reported")
_IN_NONE = absent("in none")

# login.defs(5), UID_MIN.
_FIRST_PERSON = 1000
# (uid_t) -1: no login set it.
_NO_LOGIN = 0xFFFFFFFF

_CONTAINERS = (
    ("docker", re.compile(r"/docker[-/]([0-9a-f]{12,64})")),
    ("podman", re.compile(r"/libpod-([0-9a-f]{12,64})")),
    ("containerd", re.compile(r"/cri-containerd-([0-9a-f]{12,64})")),
    ("kubernetes", re.compile(r"/kubepods[^:]*?/([0-9a-f]{12,64})(?:$|/)")),
    ("lxc", re.compile(r"/lxc(?:\.payload)?[./]([^/\s]+)")),
)
_SLURM = re.compile(r"/slurm[^/]*/(?:uid_(\d+)/)?job_(\d+)")


@dataclass(frozen=True)
class Holder:
    """The people of one process.

    Attributes:
        pid: The process.
        user: Name of the user that it runs as.
        login: Name of the user who logged in and started it, through whatever sudo and su.
        container: ``docker 0123456789ab`` or ``slurm job 42`` it runs in.
        container_name: What people call the container, where its engine tells.
        container_owner: Whose it is (`labctl.facts.gpu.containers`), or the job's user.
        started: Seconds since it was started.
        command: Its command line.
        state: Letter of its state (proc(5)): ``D`` waits for a device, ``Z`` has ended.
    """

    pid: int
    user: Fact[str] = _NOT_REPORTED
    login: Fact[str] = _NOT_REPORTED
    container: Fact[str] = _IN_NONE
    container_name: Fact[str] = _IN_NONE
    container_owner: Fact[str] = _IN_NONE
    started: Fact[float] = _NOT_REPORTED
    command: Fact[str] = _NOT_REPORTED
    state: Fact[str] = _NOT_REPORTED

    @property
    def person(self) -> str:
        """The name to call: who logged in, else the container's owner, else the user.

        Root is nobody in particular, and comes last.
        """
        facts = (self.login, self.container_owner, self.user)
        names = [fact.value for fact in facts if isinstance(fact, Known)]
        return next((name for name in names if name != "root"), names[0] if names else "")


@dataclass(frozen=True)
class OpenDevice:
    """A process that has a card's device file open, whatever the driver lists."""

    pid: int
    device: str


def snippet(pids: str = '"$pids"') -> str:
    """Return POSIX shell that prints the people of ``pids`` and who has device files open.

    Args:
        pids: Shell word with the process ids, separated by blanks.
    """
    text = _SNIPPET.replace("@PIDS@", pids).replace("@FORMAT@", ENGINE_FORMAT)
    return PROLOGUE + text.replace("@ASK@", str(ENGINE_S))


# One line for each thing: "P pid field value". /proc answers at once, also for a process that hangs
# in the driver (its cmdline is not read: that would take its memory lock). Only engines are waited
# for, and only where a process is in one of their containers.
_SNIPPET = r"""
hz=$(getconf CLK_TCK 2>/dev/null || echo 100)
read up rest < /proc/uptime
echo "U $up $hz"
open=
[ -z "$(ls /dev/nvidia[0-9]* 2>/dev/null)" ] ||
open=$(find /proc/[0-9]*/fd -lname '/dev/nvidia[0-9]*' -printf '%p %l\n' 2>/dev/null |
  sed 's,^/proc/\([0-9]*\)/fd/[0-9]* ,\1 ,' | sort -u)
echo "$open" | sed -n 's/^\([0-9]\)/O \1/p'
all=$({ echo "$open" | sed 's/ .*//'; echo @PIDS@ | tr ' ' '\n'; } |
  grep '^[0-9][0-9]*$' | sort -un)
for pid in $all
do
  d=/proc/$pid
  [ -d "$d" ] || { echo "P $pid gone"; continue; }
  uid=$(sed -n 's/^Uid:[[:space:]]*\([0-9]*\).*/\1/p' $d/status 2>/dev/null)
  echo "P $pid uid $uid"
  echo "P $pid login $(cat $d/loginuid 2>/dev/null)"
  sed "s/^/P $pid cgroup /" $d/cgroup 2>/dev/null
  stat=$(tr '\n' ' ' < $d/stat 2>/dev/null | sed 's/.*) //')
  echo "P $pid stat $stat"
  case $stat in
    D*) ;;
    *) echo "P $pid cmd $(tr '\000\n' '  ' < $d/cmdline 2>/dev/null | cut -c1-200)" ;;
  esac
done
cgroups=$(for pid in $all; do cat /proc/$pid/cgroup; done 2>/dev/null)
ask() {
  kind=$1 pattern=$2; shift 2
  found=$(echo "$cgroups" | grep -oE "$pattern" | grep -oE '[0-9a-f]{64}|[0-9]+$' | sort -u |
    head -n 50)
  [ -z "$found" ] || within @ASK@ "$@" $found </dev/null 2>/dev/null | sed "s/^/C $kind /"
}
ask docker 'docker[-/][0-9a-f]{64}' docker inspect --format '@FORMAT@'
ask podman 'libpod-[0-9a-f]{64}' podman inspect --format '@FORMAT@'
ask slurm 'slurm[^/]*/(uid_[0-9]+/)?job_[0-9]+' sh -c \
  'for job; do scontrol -o show job "$job"; done' sh
{ getent passwd || cat /etc/passwd; } 2>/dev/null |
  sed -n 's/^\([^:]*\):[^:]*:\([0-9]*\):.*/N \2 \1/p'
"""


def parse(output: str) -> tuple[dict[int, Holder], tuple[OpenDevice, ...]]:
    """Return the people by pid, and the open device files, from what `snippet` printed."""
    names: dict[int, str] = {}
    said: dict[int, dict[str, list[str]]] = {}
    devices: list[OpenDevice] = []
    told: dict[str, list[str]] = {}
    uptime, ticks = 0.0, 100.0
    for line in output.splitlines():
        words = line.split(" ", 3)
        if words[0] == "N" and len(words) >= 3 and words[1].isdigit():
            names.setdefault(int(words[1]), words[2])
        elif words[0] == "O" and len(words) >= 3 and words[1].isdigit():
            devices.append(OpenDevice(int(words[1]), " ".join(words[2:])))
        elif words[0] == "C" and len(words) >= 3:
            told.setdefault(words[1], []).append(line.split(" ", 2)[2])
        elif words[0] == "U" and len(words) == 3:
            uptime, ticks = _number(words[1], 0.0), _number(words[2], 100.0)
        elif words[0] == "P" and len(words) >= 3 and words[1].isdigit():
            entry = said.setdefault(int(words[1]), {})
            entry.setdefault(words[2], []).append(words[3] if len(words) > 3 else "")
    engines = _Engines(
        read_containers([*told.get("docker", ()), *told.get("podman", ())]),
        read_jobs(told.get("slurm", ())),
        names,
    )
    holders = {pid: _holder(pid, fields, engines, uptime, ticks) for pid, fields in said.items()}
    return holders, tuple(devices)


def _number(text: str, otherwise: float) -> float:
    try:
        return float(text)
    except ValueError:
        return otherwise


@dataclass(frozen=True)
class _Engines:
    """What engines of containers and jobs told, and the names of uids."""

    containers: Mapping[str, Container]
    jobs: Mapping[str, str]
    names: Mapping[int, str]

    @property
    def people(self) -> list[str]:
        """Login names of people; those of the system name no owner."""
        return [name for uid, name in self.names.items() if uid >= _FIRST_PERSON]


def _holder(
    pid: int, said: Mapping[str, list[str]], engines: _Engines, uptime: float, ticks: float
) -> Holder:
    if "gone" in said:
        gone = Unknown(Reason.LOST, "the process has ended, or is not of this machine")
        return Holder(pid, user=gone, login=gone, started=gone, command=gone, state=gone)
    stat = said.get("stat", [""])[0].split()
    started: Fact[float] = absent("not reported")
    # Fields 3 (state) and 22 (start time in ticks since boot) of proc_pid_stat(5).
    if len(stat) > 19 and stat[19].isdigit() and uptime:
        started = Known(max(0.0, uptime - int(stat[19]) / ticks))
    names = engines.names
    container, name, owner = _container("\n".join(said.get("cgroup", [])), engines)
    command = said.get("cmd", [""])[0].strip()
    return Holder(
        pid,
        user=_user(said.get("uid", [""])[0], names),
        login=_user(said.get("login", [""])[0], names),
        container=container,
        container_name=name,
        container_owner=owner,
        started=started,
        command=Known(command) if command else absent("it has none"),
        state=Known(stat[0]) if stat else absent("not reported"),
    )


def _user(text: str, names: Mapping[int, str]) -> Fact[str]:
    text = text.strip()
    if not text.isdigit() or int(text) == _NO_LOGIN:
        return absent("no login")
    return Known(names.get(int(text), f"uid {text}"))


def _container(cgroup: str, engines: _Engines) -> tuple[Fact[str], Fact[str], Fact[str]]:
    """Return what a process runs in: its kind and id, its name, its owner."""
    names = engines.names
    job = _SLURM.search(cgroup)
    if job:
        uid, number = job.groups()
        owner = _user(uid, names) if uid else absent("Slurm does not tell")
        if not isinstance(owner, Known) and number in engines.jobs:
            owner = Known(engines.jobs[number])
        return Known(f"slurm job {number}"), absent("a job"), owner
    for kind, pattern in _CONTAINERS:
        match = pattern.search(cgroup)
        if match:
            ident = match.group(1)[:12]
            told = engines.containers.get(ident)
            name: Fact[str] = Known(told.name) if told else absent("its engine does not tell us")
            owner = containers.owner(told, engines.people)
            uid = containers.rootless_uid(cgroup)
            if uid and not isinstance(owner, Known):  # an engine of the user's own
                owner = _user(uid, names)
            return Known(f"{kind} {ident}"), name, owner
    return _IN_NONE, _IN_NONE, _IN_NONE
