"""Which machines a run is about, and how each is reached.

Known before heavy modules are imported, so that their servers can get ready meanwhile
(`EarlyConnections`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from labctl.errors import UnreachableError, UsageError
from labctl.inventory.model import Host, Inventory
from labctl.inventory.resolve import ResolvedHost, resolve
from labctl.inventory.selection import select
from labctl.inventory.ssh_config import SshConfig
from labctl.transport.early import EarlyConnections

LOCAL = "local"


@dataclass(frozen=True)
class Machines:
    """The machines of a run.

    Attributes:
        hosts: Hosts of the inventory in its order; none of them for this machine itself.
        reached: How each is reached, by name, or why it is not.
    """

    hosts: Sequence[Host] = ()
    reached: Mapping[str, ResolvedHost | UnreachableError] | None = None

    def target(self, host: Host) -> ResolvedHost | UnreachableError:
        """Return how ``host`` is reached, or why it is not."""
        assert self.reached is not None
        return self.reached[host.name]


def choose(names: Sequence[str], load: Callable[[], Inventory], *, verb: str) -> Machines:
    """Return the machines that ``names`` select; ``local`` by itself is this machine.

    Args:
        names: Selectors of the command line.
        load: Loads the inventory, where it is needed.
        verb: Command of labctl that they were given to, for messages.

    Raises:
        UsageError: The inventory or ssh's configuration is not right, or a name selects nothing.
    """
    if list(names) == [LOCAL]:
        return Machines()
    inventory = load()
    if LOCAL in names and LOCAL not in inventory.hosts:
        raise UsageError("'local' goes by itself", action=f"labctl {verb} local")
    hosts = select(inventory, names)
    config = SshConfig()
    return Machines(hosts, {host.name: _reach(host, inventory, config) for host in hosts})


def connect_early(machines: Machines, *, first: int, timeout: float) -> EarlyConnections:
    """Begin to connect to the ``first`` machines: those that will be at work first.

    Args:
        machines: All machines of the run.
        first: How many.
        timeout: Seconds for one that says nothing itself.
    """
    early = EarlyConnections()
    targets = [machines.target(host) for host in machines.hosts[:first]]
    known = [target for target in targets if isinstance(target, ResolvedHost)]
    early.open(known, timeout=timeout)
    return early


def _reach(host: Host, inventory: Inventory, config: SshConfig) -> ResolvedHost | UnreachableError:
    try:
        return resolve(host, inventory, config=config)
    except UnreachableError as error:
        return error
