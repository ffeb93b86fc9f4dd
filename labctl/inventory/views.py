"""Inventory entries as plain data for people and for JSON; without any password."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from labctl.errors import UnreachableError
from labctl.inventory.model import Board, FpgaProject, Host, Inventory
from labctl.inventory.resolve import resolve
from labctl.inventory.ssh_config import SshConfig


def describe(
    inventory: Inventory,
    items: Iterable[Host | Board | FpgaProject],
    *,
    config: SshConfig | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Return ``items`` as ``{"hosts": [...], "boards": [...], "fpga": [...]}``.

    Hosts are shown as they would be reached: ssh's configuration is applied. A machine of the
    virtual lab that does not run has the hostname None.

    Raises:
        UsageError: ssh's configuration cannot be parsed, or jump hosts form a loop.
    """
    config = config or SshConfig()
    views: dict[str, list[dict[str, Any]]] = {"hosts": [], "boards": [], "fpga": []}
    for item in items:
        if isinstance(item, Host):
            views["hosts"].append(_host(item, inventory, config))
        elif isinstance(item, Board):
            views["boards"].append(
                {
                    "name": item.name,
                    "model": item.model,
                    "line": item.line,
                    "host": item.host,
                    "virtual": item.virtual,
                    "tags": sorted(item.tags),
                    "power": dict(item.power),
                    "settings": dict(item.settings),
                }
            )
        else:
            views["fpga"].append(
                {"name": item.name, "path": str(item.path), "tags": sorted(item.tags)}
            )
    return views


def _host(host: Host, inventory: Inventory, config: SshConfig) -> dict[str, Any]:
    try:
        reached = resolve(host, inventory, config=config)
    except UnreachableError:  # a virtual machine that is not running
        reached = None
    return {
        "name": host.name,
        "virtual": host.virtual,
        "hostname": reached.hostname if reached else None,
        "port": reached.port if reached else None,
        "user": reached.user if reached else host.user,
        "identity_files": list(reached.identity_files if reached else host.identity_files),
        "proxy_jump": reached.proxy_jump if reached else None,
        "proxy_command": reached.proxy_command if reached else None,
        "sudo": host.sudo,
        "slurm_node": host.slurm_node,
        "host_keys": list(host.host_keys),
        "groups": list(host.groups),
        "tags": sorted(host.tags),
        "profiles": list(host.profiles),
        "vars": dict(host.vars),
    }
