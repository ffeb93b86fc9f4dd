"""How the peers are run: each with the settings that make it fastest and still safe.

Host keys are verified and the same key logs in, as for labctl.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from boxes import Fleet
from processes import Ended, peer, run
from workload import Workload, ansible_playbook, pyinfra_deploy

from labctl.errors import LabctlError
from labctl.inventory.resolve import ResolvedHost

# https://docs.ansible.com/ansible/2.19/reference_appendices/config.html
_ANSIBLE_CFG = """\
[defaults]
forks = {forks}
gathering = explicit
interpreter_python = /usr/bin/python3
[ssh_connection]
pipelining = True
ssh_args = -F none -o ControlMaster=auto -o ControlPersist=60s -o IdentitiesOnly=yes \
-o UserKnownHostsFile={known_hosts}
"""
_RECAP = re.compile(
    r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE
)


@dataclass(frozen=True)
class Pyinfra:
    """pyinfra: ``-y`` (no preview), ``--no-wait`` (no barrier between operations)."""

    command: tuple[str, ...]
    folder: Path
    hosts: int

    @classmethod
    def prepare(cls, fleet: Fleet, hosts: Sequence[ResolvedHost], work: Workload) -> Pyinfra:
        """Write its inventory and deploy."""
        folder = _folder(fleet, f"pyinfra-{len(hosts)}")
        (folder / "deploy.py").write_text(pyinfra_deploy(work, folder))
        common = {
            "ssh_known_hosts_file": str(fleet.known_hosts()),
            "ssh_strict_host_key_checking": "yes",
            "ssh_allow_agent": False,
            "ssh_look_for_keys": False,
        }
        entries = [
            (
                host.name,
                {
                    "ssh_hostname": host.hostname,
                    "ssh_port": host.port,
                    "ssh_user": host.user,
                    "ssh_key": host.identity_files[0],
                    **common,
                },
            )
            for host in hosts
        ]
        (folder / "inventory.py").write_text(f"hosts = {entries!r}\n")
        options = ("-y", "--no-wait", "--json")
        command = (peer("pyinfra"), *options, "inventory.py", "deploy.py")
        return cls(command, folder, len(hosts))

    def converge(self) -> None:
        """Run it once, whatever it changes."""
        run(self.command, folder=self.folder)

    def run(self) -> float:
        """Run it and return the seconds.

        Raises:
            LabctlError: It changed something.
        """
        ended = run(self.command, folder=self.folder)
        totals = json.loads(ended.output)["results"]["totals"]
        if totals["success"] or totals["error"] or not totals["no_change"]:
            raise LabctlError(f"was to change nothing: {totals}", thing="pyinfra")
        return ended.seconds


@dataclass(frozen=True)
class Ansible:
    """ansible-core: pipelining, ControlPersist (warm), no facts, one fork for each host."""

    command: tuple[str, ...]
    folder: Path
    hosts: int

    @classmethod
    def prepare(cls, fleet: Fleet, hosts: Sequence[ResolvedHost], work: Workload) -> Ansible:
        """Write its inventory, settings and playbook."""
        folder = _folder(fleet, f"ansible-{len(hosts)}")
        (folder / "playbook.json").write_text(ansible_playbook(work, folder))
        (folder / "hosts.ini").write_text(
            "".join(
                f"{host.name} ansible_host={host.hostname} ansible_port={host.port} "
                f"ansible_user={host.user} ansible_ssh_private_key_file={host.identity_files[0]}\n"
                for host in hosts
            )
        )
        settings = _ANSIBLE_CFG.format(forks=len(hosts), known_hosts=fleet.known_hosts())
        (folder / "ansible.cfg").write_text(settings)
        command = (peer("ansible-playbook"), "-i", "hosts.ini", "playbook.json")
        return cls(command, folder, len(hosts))

    def converge(self) -> None:
        """Run it once, whatever it changes."""
        self._run()

    def run(self) -> float:
        """Run it and return the seconds.

        Raises:
            LabctlError: It changed something, or a box is missing from its answer.
        """
        ended = self._run()
        recap = [tuple(map(int, row[1:])) for row in _RECAP.findall(ended.output)]
        quiet = [row for row in recap if row[0] and not any(row[1:])]
        if len(quiet) != self.hosts:
            raise LabctlError(f"was to change nothing: {recap}", thing="ansible-core")
        return ended.seconds

    def _run(self) -> Ended:
        environment = {"ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        return run(self.command, environment=environment, folder=self.folder)


def _folder(fleet: Fleet, name: str) -> Path:
    folder = fleet.folder / name
    folder.mkdir(exist_ok=True)
    return folder
