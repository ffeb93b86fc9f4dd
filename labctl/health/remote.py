"""From hosts of the inventory to targets of a check, over SSH."""

from __future__ import annotations

from functools import partial

from labctl.errors import UnreachableError
from labctl.health.run import Target
from labctl.inventory.resolve import ResolvedHost
from labctl.transport.early import EarlyConnections
from labctl.transport.machines import Machines
from labctl.transport.session import Session
from labctl.transport.ssh import Access, connect

# Of what a host may take in all, for each of its steps: connection, key exchange.
_CONNECT_SHARE = 1 / 3


def remote_targets(
    machines: Machines, *, early: EarlyConnections, timeout: float, accept_new: bool
) -> list[Target]:
    """Return the targets of ``machines``.

    Args:
        machines: The machines.
        early: Connections that have been begun.
        timeout: Seconds that a host may take in all.
        accept_new: Accept unknown host keys.
    """
    return [
        Target(host.name, partial(_connect, machines.target(host), early, timeout, accept_new))
        for host in machines.hosts
    ]


def _connect(
    target: ResolvedHost | UnreachableError,
    early: EarlyConnections,
    timeout: float,
    accept_new: bool,
) -> Session:
    if isinstance(target, UnreachableError):
        raise target
    return connect(
        target,
        Access(
            decide=lambda name, kind, mark: accept_new,
            connect_timeout=timeout * _CONNECT_SHARE,
            early=early,
        ),
    )
