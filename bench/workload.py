"""The same set-up in three languages: a labctl profile, a pyinfra deploy, an Ansible playbook.

Each is written as its own manual recommends: neighbouring packages are one operation or task,
everything else has one of its own. They describe the same machine, item for item.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Packages and units that a minimal Debian 12 has, but for python3: Ansible runs nothing on a
# machine without it.
_PACKAGES = (
    *("python3", "openssh-server", "ca-certificates", "tzdata", "apt"),
    *("bash", "coreutils", "dash", "diffutils", "dpkg", "findutils", "grep", "gzip", "hostname"),
    *("login", "passwd", "perl-base", "sed", "tar", "util-linux"),
)
_UNITS = ("ssh.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer")
_FOLDER = "/etc/labctl-bench"

# How many of each kind make up a set-up of so many items.
_SHARES: Mapping[int, Mapping[str, int]] = {
    5: {"packages": 1, "folders": 1, "files": 1, "lines": 1, "users": 0, "units": 1},
    20: {"packages": 5, "folders": 3, "files": 6, "lines": 3, "users": 1, "units": 1},
    80: {"packages": 20, "folders": 12, "files": 24, "lines": 12, "users": 4, "units": 4},
}
SIZES = tuple(_SHARES)


@dataclass(frozen=True)
class Workload:
    """What the machines shall have.

    Attributes:
        packages: Debian packages.
        folders: Directories, mode 0755.
        files: Path and content of text files.
        lines: Path of a file and a line that it has.
        users: Accounts, each with one authorized key.
        units: systemd units that are enabled.
    """

    packages: tuple[str, ...]
    folders: tuple[str, ...]
    files: Mapping[str, str]
    lines: Mapping[str, str]
    users: Mapping[str, str]
    units: tuple[str, ...]

    @property
    def items(self) -> int:
        """Number of items: a user and a key are two."""
        parts = (self.packages, self.folders, self.files, self.lines, self.users, self.units)
        return sum(map(len, parts)) + len(self.users)


def make_workload(items: int, public_key: str) -> Workload:
    """Return the set-up of ``items`` items (one of `SIZES`).

    Args:
        items: How many.
        public_key: Key that its users get, as in a ``.pub`` file.
    """
    share = _SHARES[items]
    # The first folder holds all the rest.
    inner = [f"{_FOLDER}/part{i}" for i in range(1, share["folders"])]
    return Workload(
        packages=_PACKAGES[: share["packages"]],
        folders=(_FOLDER, *inner),
        files={f"{_FOLDER}/file{i}.conf": _content(i) for i in range(share["files"])},
        lines={f"{_FOLDER}/line{i}.conf": f"setting{i} = on" for i in range(share["lines"])},
        users={f"bench{i}": " ".join(public_key.split()[:2]) for i in range(share["users"])},
        units=_UNITS[: share["units"]],
    )


def _content(number: int) -> str:
    return f"# Configuration file {number} of the benchmark.\n" + "".join(
        f"option{i} = {i * number}\n" for i in range(40)
    )


def labctl_profile(work: Workload) -> str:
    """Return ``work`` as a profile of labctl (JSON is YAML)."""
    items: list[dict[str, Any]] = [{"package": list(work.packages)}]
    items += [{"directory": path} for path in work.folders]
    items += [{"file": {"path": path, "content": text}} for path, text in work.files.items()]
    items += [{"line": {"path": path, "line": text}} for path, text in work.lines.items()]
    for name, key in work.users.items():
        items += [{"user": name}, {"authorized_key": {"user": name, "key": key}}]
    # Fleet boxes run no systemd: whether a unit is enabled is all that can be asked.
    items += [{"service": {"name": unit, "running": None}} for unit in work.units]
    return json.dumps({"description": "Benchmark", "items": items}, indent=1)


def pyinfra_deploy(work: Workload, files: Path) -> str:
    """Return ``work`` as a deploy of pyinfra.

    Args:
        work: What to describe.
        files: Folder for the files that it uploads; they are written there.
    """
    lines = ["from pyinfra.operations import apt, files, server", ""]
    lines.append(f"apt.packages(packages={list(work.packages)!r})")
    lines += [f"files.directory(path={path!r}, mode='755')" for path in work.folders]
    for path, source in _sources(work, files).items():
        lines.append(f"files.put(src={source!r}, dest={path!r}, mode='644')")
    lines += [
        f"files.line(path={path!r}, line={text!r}, ensure_newline=True)"
        for path, text in work.lines.items()
    ]
    for name, key in work.users.items():
        lines.append(
            f"server.user(user={name!r}, home='/home/{name}', ensure_home=True, shell='/bin/bash')"
        )
        lines.append(f"server.user_authorized_keys(user={name!r}, public_keys=[{key!r}])")
    # Its operations for services fail where systemd does not run. The link that makes a unit
    # enabled is asked for instead, which costs it less.
    lines += [
        f"files.link(path={link!r}, target={'/lib/systemd/system/' + unit!r})"
        for unit, link in ((unit, _enabling_link(unit)) for unit in work.units)
    ]
    return "\n".join(lines) + "\n"


def ansible_playbook(work: Workload, files: Path) -> str:
    """Return ``work`` as a playbook of ansible-core, with only the modules that come with it.

    Args:
        work: What to describe.
        files: Folder for the files that it uploads; they are written there.
    """
    builtin = "ansible.builtin."
    tasks: list[dict[str, Any]] = [
        {builtin + "apt": {"name": list(work.packages), "install_recommends": False}}
    ]
    for path in work.folders:
        tasks.append({builtin + "file": {"path": path, "state": "directory", "mode": "0755"}})
    for path, source in _sources(work, files).items():
        tasks.append({builtin + "copy": {"src": source, "dest": path, "mode": "0644"}})
    for path, text in work.lines.items():
        tasks.append({builtin + "lineinfile": {"path": path, "line": text, "create": True}})
    for name, key in work.users.items():
        home = f"/home/{name}"
        tasks.append({builtin + "user": {"name": name, "shell": "/bin/bash", "home": home}})
        # The authorized_key module is not part of ansible-core; a key is a line of a file.
        keys = {"path": f"{home}/.ssh/authorized_keys", "line": key, "create": True}
        tasks.append({builtin + "lineinfile": {**keys, "owner": name, "mode": "0600"}})
    for unit in work.units:
        # Without it the module asks a systemd that a fleet box does not run.
        task = {builtin + "systemd_service": {"name": unit, "enabled": True}}
        tasks.append({**task, "environment": {"SYSTEMD_OFFLINE": "1"}})
    play = {"hosts": "all", "gather_facts": False, "become": False, "tasks": tasks}
    return json.dumps([play], indent=1)


def _enabling_link(unit: str) -> str:
    wanted_by = "timers" if unit.endswith(".timer") else "multi-user"
    return f"/etc/systemd/system/{wanted_by}.target.wants/{unit}"


def _sources(work: Workload, folder: Path) -> dict[str, str]:
    """Write the files to upload; return the local name of each by its path on the machines."""
    sources = {}
    for path, text in work.files.items():
        source = folder / Path(path).name
        source.write_text(text)
        sources[path] = str(source)
    return sources
