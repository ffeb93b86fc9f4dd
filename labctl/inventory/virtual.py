"""The running virtual lab joined to what the inventory file says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from labctl.inventory.endpoints import BoardEndpoint, Endpoint
from labctl.inventory.model import Board, Host, Inventory

FLEET = "fleet"


@dataclass(frozen=True)
class Static:
    """An inventory file by itself.

    Attributes:
        inventory: What it says. A virtual host has no address yet, and a user only where its own
            entry names one.
        fleet: What every light box of a fleet inherits.
    """

    inventory: Inventory
    fleet: Host


def join(
    static: Static, endpoints: Mapping[str, Endpoint], boards: Mapping[str, BoardEndpoint]
) -> Inventory:
    """Return the inventory with the machines of the running lab in it.

    Args:
        static: What the file says.
        endpoints: Machines of the running virtual lab by name.
        boards: Boards of the running virtual lab by name.
    """
    hosts = {
        name: _reached(host, endpoints.get(name)) if host.virtual else host
        for name, host in static.inventory.hosts.items()
    }
    for name in sorted(endpoints, key=_natural):
        if endpoints[name].kind == FLEET and name not in hosts:
            hosts[name] = _reached(replace(static.fleet, name=name), endpoints[name])
    known = {
        name: _wired(board, boards.get(name)) if board.virtual else board
        for name, board in static.inventory.boards.items()
    }
    return replace(static.inventory, hosts=hosts, boards=known)


def _wired(board: Board, endpoint: BoardEndpoint | None) -> Board:
    """Return ``board`` with its present line; it has none while it is down."""
    if endpoint is None:
        return board
    return replace(board, line=endpoint.line, monitor=endpoint.monitor, folder=endpoint.folder)


def _reached(host: Host, endpoint: Endpoint | None) -> Host:
    """Return ``host`` with its present address; it has none while it is down."""
    told = endpoint or Endpoint(host.name, host.virtual or "box", "", 0, "root")
    user = host.user or told.user
    return replace(
        host,
        address=told.address or None,
        port=told.port or None,
        user=user,
        identity_files=(told.identity_file,) if told.identity_file else (),
        sudo=host.sudo and user != "root",
        host_keys=told.host_keys,
        virtual=told.kind,
        # The password is that of the new machine's own user and of no other.
        password=told.password if user == told.user else None,
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key by which fleet2 comes before fleet10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
