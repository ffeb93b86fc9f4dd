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

_CONNECT_S = 10.0


def remote_targets(
    machines: Machines, *, early: EarlyConnections, timeout: float, accept_new: bool
) -> list[Target]:
    """Return the targets of ``machines``.

    Args:
        machines: The machines.
        early: Connections that have been begun.
        timeout: Seconds for connecting, where neither the inventory nor we say a shorter time.
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
            connect_timeout=min(timeout, _CONNECT_S),
            early=early,
        ),
    )
