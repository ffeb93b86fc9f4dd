"""Whose a container or a Slurm job is, from what its engine tells anyone who may ask.

``docker inspect`` answers those in the group docker, ``podman inspect`` root about root's
containers, ``scontrol show job`` everybody. A rootless engine needs no question: the cgroup of its
containers lies below the user's own slice. An owner is, in this order: a label that says so; the
home folder that a label (Compose, dev containers) or a mount names; a login name that the
container's name begins with. Nothing else is asked: an environment may hold secrets.

Sources: docker-inspect(1), podman-inspect(1), scontrol(1), systemd's user.slice; JupyterHub's,
Compose's and Dev Containers' documentation for their labels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from labctl.facts.value import Fact, Known, absent

# The last part of a label's name: "owner", "com.example.owner", "hub.jupyter.org/username".
_OWNER_LABELS = ("owner", "username", "user", "created-by", "creator")
_FOLDER_LABELS = ("com.docker.compose.project.working_dir", "devcontainer.local_folder")
_HOME = re.compile(r"^/home/([^/:]+)(?=[/:]|$)")
_USER_SLICE = re.compile(r"/user@(\d+)\.service/|/user-(\d+)\.slice/")
_JOB = re.compile(r"\bJobId=(\d+)\b.*?\bUserId=([^\s(]+)\((\d+)\)")


@dataclass(frozen=True)
class Container:
    """What its engine says of a container.

    Attributes:
        name: As people call it.
        labels: Its labels.
        binds: Folders of the host in it, as ``HOST:INSIDE``.
    """

    name: str
    labels: Mapping[str, str]
    binds: tuple[str, ...]


def read_containers(lines: Iterable[str]) -> dict[str, Container]:
    """Return containers by the first 12 letters of their ids, from lines of `ENGINE_FORMAT`."""
    found = {}
    for line in lines:
        parts = line.rstrip("\n").split("\t")
        if len(parts) != 4 or not re.fullmatch(r"[0-9a-f]{12,64}", parts[0]):
            continue
        labels, binds = _load(parts[2]), _load(parts[3])
        found[parts[0][:12]] = Container(
            parts[1].lstrip("/"),
            {str(key): str(value) for key, value in labels.items()}
            if isinstance(labels, dict)
            else {},
            tuple(map(str, binds)) if isinstance(binds, list) else (),
        )
    return found


def _load(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def read_jobs(lines: Iterable[str]) -> dict[str, str]:
    """Return the users of Slurm's jobs by number, from lines of ``scontrol -o show job``."""
    return {
        match.group(1): match.group(2) for line in lines if (match := _JOB.search(line)) is not None
    }


def rootless_uid(cgroup: str) -> str | None:
    """Return the uid in whose slice ``cgroup`` lies, or None where it is the system's."""
    match = _USER_SLICE.search(cgroup)
    return (match.group(1) or match.group(2)) if match else None


def owner(container: Container | None, people: Collection[str]) -> Fact[str]:
    """Return whose ``container`` is; None is one of which nothing could be asked.

    Args:
        container: What its engine says.
        people: Login names of the machine.
    """
    if container is None:
        return absent("its engine does not tell us")
    for word in _OWNER_LABELS:
        for key, value in container.labels.items():
            if re.split(r"[./]", key.lower())[-1] == word and value.strip():
                return Known(value.strip())
    folders = [container.labels.get(key, "") for key in _FOLDER_LABELS]
    homes = {match.group(1) for path in folders if (match := _HOME.match(path))}
    homes = homes or {match.group(1) for path in container.binds if (match := _HOME.match(path))}
    if len(homes) == 1:  # several are a shared one
        return Known(homes.pop())
    fits = [name for name in people if re.match(re.escape(name) + r"(?:[-_.]|$)", container.name)]
    if fits:
        return Known(max(fits, key=len))
    return absent("it names nobody")
