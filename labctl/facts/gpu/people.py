"""Who is behind a process: its user, its container's owner, who logged in.

A process in a container belongs to root as a rule. Its cgroup names the container or the Slurm job,
and ``/proc/PID/loginuid`` the person who logged in, which survives sudo and su.
Source: proc(5), cgroups(7), pam_loginuid(8), systemd's and Docker's names of cgroups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from labctl.facts.value import Fact, Known, Reason, Unknown, absent

_NOT_REPORTED = absent("not reported")
_IN_NONE = absent("in none")

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
        container_owner: Who the container says it is for (the label or the job's user).
        started: Seconds since it was started.
        command: Its command line.
        state: Letter of its state (proc(5)): ``D`` waits for a device, ``Z`` has ended.
    """

    pid: int
    user: Fact[str] = _NOT_REPORTED
    login: Fact[str] = _NOT_REPORTED
    container: Fact[str] = _IN_NONE
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
    return _SNIPPET.replace("@PIDS@", pids)


# One line for each thing: "P pid field value". Nothing here waits: /proc answers at once, also for
# a process that hangs in the driver (its cmdline is not read: that would take its memory lock).
_SNIPPET = r"""
hz=$(getconf CLK_TCK 2>/dev/null || echo 100)
read up rest < /proc/uptime
echo "U $up $hz"
open=
[ -z "$(ls /dev/nvidia[0-9]* 2>/dev/null)" ] ||
open=$(find /proc/[0-9]*/fd -lname '/dev/nvidia[0-9]*' -printf '%p %l\n' 2>/dev/null |
  sed 's,^/proc/\([0-9]*\)/fd/[0-9]* ,\1 ,' | sort -u)
echo "$open" | sed -n 's/^\([0-9]\)/O \1/p'
for pid in $({ echo "$open" | sed 's/ .*//'; echo @PIDS@ | tr ' ' '\n'; } |
  grep '^[0-9][0-9]*$' | sort -un)
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
{ getent passwd || cat /etc/passwd; } 2>/dev/null |
  sed -n 's/^\([^:]*\):[^:]*:\([0-9]*\):.*/N \2 \1/p'
"""


def parse(output: str) -> tuple[dict[int, Holder], tuple[OpenDevice, ...]]:
    """Return the people by pid, and the open device files, from what `snippet` printed."""
    names: dict[int, str] = {}
    said: dict[int, dict[str, list[str]]] = {}
    devices: list[OpenDevice] = []
    uptime, ticks = 0.0, 100.0
    for line in output.splitlines():
        words = line.split(" ", 3)
        if words[0] == "N" and len(words) >= 3 and words[1].isdigit():
            names.setdefault(int(words[1]), words[2])
        elif words[0] == "O" and len(words) >= 3 and words[1].isdigit():
            devices.append(OpenDevice(int(words[1]), " ".join(words[2:])))
        elif words[0] == "U" and len(words) == 3:
            uptime, ticks = _number(words[1], 0.0), _number(words[2], 100.0)
        elif words[0] == "P" and len(words) >= 3 and words[1].isdigit():
            entry = said.setdefault(int(words[1]), {})
            entry.setdefault(words[2], []).append(words[3] if len(words) > 3 else "")
    holders = {pid: _holder(pid, fields, names, uptime, ticks) for pid, fields in said.items()}
    return holders, tuple(devices)


def _number(text: str, otherwise: float) -> float:
    try:
        return float(text)
    except ValueError:
        return otherwise


def _holder(
    pid: int, said: Mapping[str, list[str]], names: Mapping[int, str], uptime: float, ticks: float
) -> Holder:
    if "gone" in said:
        gone = Unknown(Reason.LOST, "the process has ended, or is not of this machine")
        return Holder(pid, user=gone, login=gone, started=gone, command=gone, state=gone)
    stat = said.get("stat", [""])[0].split()
    started: Fact[float] = absent("not reported")
    # Fields 3 (state) and 22 (start time in ticks since boot) of proc_pid_stat(5).
    if len(stat) > 19 and stat[19].isdigit() and uptime:
        started = Known(max(0.0, uptime - int(stat[19]) / ticks))
    container, owner = _container("\n".join(said.get("cgroup", [])), names)
    command = said.get("cmd", [""])[0].strip()
    return Holder(
        pid,
        user=_user(said.get("uid", [""])[0], names),
        login=_user(said.get("login", [""])[0], names),
        container=container,
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


def _container(cgroup: str, names: Mapping[int, str]) -> tuple[Fact[str], Fact[str]]:
    job = _SLURM.search(cgroup)
    if job:
        owner = _user(job.group(1), names) if job.group(1) else absent("the job does not say")
        return Known(f"slurm job {job.group(2)}"), owner
    for kind, pattern in _CONTAINERS:
        match = pattern.search(cgroup)
        if match:
            return Known(f"{kind} {match.group(1)[:12]}"), absent("not asked")
    return absent("in none"), absent("in none")
