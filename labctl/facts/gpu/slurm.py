"""What Slurm says of a machine that is a node of it: its state, and to whom its cards are given.

A machine is under Slurm where ``scontrol`` knows a node on it. All is asked in one round
trip with the cards. Source: scontrol(1), squeue(1), gres.conf(5); tried on Slurm 22.05.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from labctl.facts.gpu.hostlist import expand
from labctl.facts.value import Reason, Unknown
from labctl.report.sanitize import clean_line

# A controller that does not answer costs a client 9 s each time it is asked.
_ASK_S = 15
_MOST_JOBS = 500

# One line for each thing, its kind first. `scontrol show aliases` reads the configuration and asks
# nobody. A name with blanks may be anything: it stands last, and is cut off where it stands amid.
_SNIPPET = r"""
command -v scontrol >/dev/null 2>&1 || exit 0
timeout -k 1 @SECONDS@ sh -s <<'LABCTL_END'
  nodes=@NODES@
  if [ -z "$nodes" ]; then
    for name in "$(hostname)" "$(hostname -s)"; do
      nodes=$(scontrol show aliases "$name" 2>/dev/null | head -n 1 | tr -s ' ' ',')
      [ -z "$nodes" ] || break
    done
  fi
  nodes=${nodes%,}
  [ -n "$nodes" ] || exit 0
  echo "H $nodes"
  said=$(scontrol -o -d show node "$nodes" 2>&1) || { echo "E $said" | head -n 1; exit 0; }
  echo "$said" | sed -n 's/^NodeName=/N NodeName=/p'
  squeue -h -w "$nodes" -t R,S,CG -o '%A|%u|%T|%S|%e|%j' 2>/dev/null | sort -u |
    head -n @MOST@ | sed 's/^/Q /'
  for job in $(squeue -h -w "$nodes" -t R,S,CG -o '%A' 2>/dev/null | sort -un | head -n @MOST@)
  do
    scontrol -o -d show job "$job" 2>/dev/null | sed 's/^/J /'
  done
  scontrol -o show reservation 2>/dev/null | sed -n 's/^ReservationName=/R ReservationName=/p'
  echo "A $(sinfo -h -a -o %N 2>/dev/null | head -n 1)"
  conf=$(scontrol show config 2>/dev/null | sed -n 's/^SLURM_CONF *= *//p')
  [ -z "$conf" ] || sed 's/^/G /' "${conf%/*}/gres.conf" 2>/dev/null
  echo "."
LABCTL_END
"""

_GPUS = re.compile(r"gpu(?::(?!\d+(?:\(|,|$))[^:(,]+)?:(\d+)(?:\(IDX:([\d,-]*)\))?")
_FIELD = re.compile(r"(?:^| )(\w+)=")
_ALLOCATED = re.compile(r"\bNodes=(\S+) CPU_IDs=\S* Mem=\S* GRES=(\S*)")


@dataclass(frozen=True)
class Node:
    """A node of Slurm.

    Attributes:
        states: Its states in Slurm's words: ``IDLE``, ``MIXED``, ``DRAIN``, ...
        reason: Why it is drained or down, as whoever did it wrote.
        gpus: How many cards Slurm gives away there.
        files: Device files of its cards in the order of their indices; empty if not told.
        used: How many of them are given away.
    """

    name: str
    states: tuple[str, ...] = ()
    reason: str = ""
    gpus: int = 0
    files: tuple[str, ...] = ()
    used: int = 0


@dataclass(frozen=True)
class SlurmJob:
    """A job on one of the nodes.

    Attributes:
        ends: When its time is over, ``2026-04-10T10:23:01``; empty if never.
        gpus: How many cards it has, by node.
        indices: Which ones, by node; none where Slurm does not say.
    """

    id: str
    user: str
    name: str
    state: str
    ends: str = ""
    gpus: Mapping[str, int] = field(default_factory=dict)
    indices: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Reservation:
    """A reservation that holds now, of whole nodes."""

    name: str
    nodes: tuple[str, ...]
    users: tuple[str, ...]
    until: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class SlurmFacts:
    """What Slurm says of one machine.

    Attributes:
        nodes: Its nodes there; one, but where several slurmd run on a machine.
        everything: Names of all nodes of the cluster.
        failure: Why Slurm did not say all.
    """

    nodes: tuple[Node, ...] = ()
    jobs: tuple[SlurmJob, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    everything: tuple[str, ...] = ()
    failure: Unknown | None = None


def snippet(node: str = "") -> str:
    """Return POSIX shell that prints what Slurm says.

    Args:
        node: The machine's name in Slurm; found by its host name if not given.
    """
    from labctl.transport.script import quote  # noqa: PLC0415 - slow to import

    return (
        _SNIPPET.replace("@NODES@", quote(node))
        .replace("@MOST@", str(_MOST_JOBS))
        .replace("@SECONDS@", str(_ASK_S))
    )


def ask_here() -> str:
    """Return what `snippet` prints on this machine; nothing where there is no Slurm."""
    import subprocess  # noqa: PLC0415 - slow to import, and of no use to other machines

    try:
        done = subprocess.run(
            ["/bin/sh", "-c", snippet()], capture_output=True, stdin=subprocess.DEVNULL,
            timeout=_ASK_S + 5.0, check=False, text=True, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode(errors="replace") if late.stdout else ""
    return done.stdout


def parse(output: str) -> SlurmFacts | None:
    """Return what Slurm said; None where the machine is not under Slurm."""
    said: dict[str, list[str]] = {}
    for line in output.splitlines():
        said.setdefault(line[:1], []).append(line[2:])
    if "H" not in said:
        return None
    failure = None
    if "E" in said:
        failure = Unknown(Reason.LOST, clean_line(said["E"][0], limit=120))
    elif "." not in said:
        failure = Unknown(Reason.TIMED_OUT, "Slurm's controller did not answer in time")
    files = _files(said.get("G", ()))
    nodes = tuple(_node(line, files) for line in said.get("N", ()))
    own = {node.name for node in nodes}
    return SlurmFacts(
        nodes,
        tuple(_jobs(said.get("Q", ()), said.get("J", ()))),
        tuple(one for one in map(_reservation, said.get("R", ())) if one and own & {*one.nodes}),
        tuple(_names(said.get("A", [""])[0])),
        failure,
    )


def _fields(line: str) -> dict[str, str]:
    """Return the fields of a line of ``scontrol -o``; values may hold blanks."""
    marks = list(_FIELD.finditer(line))
    pairs: dict[str, str] = {}
    for mark, following in itertools.zip_longest(marks, marks[1:]):
        end = following.start() if following else len(line)
        # The first one counts: what people may write stands behind.
        pairs.setdefault(mark.group(1), line[mark.end() : end].strip())
    return pairs


def _names(text: str) -> list[str]:
    try:
        return expand("" if text == "(null)" else text)
    except ValueError:
        return []


def _node(line: str, files: Mapping[str, tuple[str, ...]]) -> Node:
    found = _fields(line)
    name = found.get("NodeName", "")
    reason = found.get("Reason", "")
    return Node(
        name,
        tuple(re.split(r"[+*~#!%$@^-]+", found.get("State", "").strip("*~#!%$@^-"))),
        clean_line(reason, limit=120),
        sum(int(one[0]) for one in _GPUS.findall(found.get("Gres", ""))),
        files.get(name, files.get("", ())),
        sum(int(one[0]) for one in _GPUS.findall(found.get("GresUsed", ""))),
    )


def _files(lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the device files of cards by node in gres.conf; by '' those of every node."""
    found: dict[str, list[str]] = {}
    for line in lines:
        words = {
            key.lower(): value
            for key, _, value in (word.partition("=") for word in line.split("#")[0].split())
        }
        if words.get("name", "").lower() != "gpu" or "file" not in words:
            continue
        for node in _names(words.get("nodename", "")) or [""]:
            found.setdefault(node, []).extend(_names(words["file"]))
    return {node: tuple(files) for node, files in found.items()}


def _jobs(listed: Sequence[str], told: Sequence[str]) -> Iterator[SlurmJob]:
    details: dict[str, str] = {}
    for line in told:
        match = re.match(r"JobId=(\d+) ", line)
        if match:
            details[match.group(1)] = line
    for line in listed:
        words = line.split("|", 5)
        if len(words) < 6:
            continue
        job, user, state, _, ends, name = words
        gpus, indices = _given(details.get(job, ""), name)
        yield SlurmJob(
            job,
            clean_line(user, limit=40),
            clean_line(name, limit=60),
            state,
            "" if ends in ("NONE", "N/A", "Unknown") else ends,
            gpus,
            indices,
        )


def _given(line: str, name: str) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """Return how many cards a job has on which node, and which.

    Its own words (name, command, comment) stand before and after what Slurm says, and do not count.
    """
    text = re.sub(r"^JobId=\d+ (?:ArrayJobId=\S+ ArrayTaskId=\S+ )?JobName=", "", line)
    text = text.removeprefix(name).partition(" MinCPUsNode=")[0]
    gpus: dict[str, int] = {}
    indices: dict[str, tuple[int, ...]] = {}
    for match in _ALLOCATED.finditer(text):
        given = _GPUS.findall(match.group(2))
        count = sum(int(one[0]) for one in given)
        which = [index for one in given for index in _indices(one[1])]
        for node in _names(match.group(1)) if count else ():
            gpus[node] = gpus.get(node, 0) + count
            if len(which) == count:
                indices[node] = (*indices.get(node, ()), *which)
    return gpus, indices


def _indices(text: str) -> list[int]:
    return [int(one) for one in _names(f"[{text}]")] if text else []


def _reservation(line: str) -> Reservation | None:
    found = _fields(line)
    if found.get("State") != "ACTIVE":
        return None
    users = found.get("Users", "")
    return Reservation(
        clean_line(found.get("ReservationName", ""), limit=60),
        tuple(_names(found.get("Nodes", ""))),
        tuple(one for one in users.split(",") if one and one != "(null)"),
        found.get("EndTime", ""),
        tuple(one for one in found.get("Flags", "").split(",") if one),
    )
