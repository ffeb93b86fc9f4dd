"""The way to a lab host that a line hangs on: as the inventory says, by key, without questions."""

from __future__ import annotations

from pathlib import Path

from labctl.boards.owner.place import OwnerConfig
from labctl.errors import UsageError
from labctl.transport.session import Session


def connect_host(config: OwnerConfig, name: str) -> Session:
    """Return an open session to the inventory's host ``name``.

    An owner has no terminal, so nobody is asked for passwords or about host keys: the key must be
    known and a login by key must work (as after ``labctl setup``).

    Raises:
        UsageError: The inventory has no such host.
        UnreachableError: It does not answer, or does not let us in.
    """
    from labctl.inventory.loader import load_inventory  # noqa: PLC0415
    from labctl.inventory.resolve import resolve  # noqa: PLC0415
    from labctl.transport.ssh import Access, connect  # noqa: PLC0415

    if config.inventory is None:
        raise UsageError("no inventory names the host of the line", thing=config.board)
    inventory = load_inventory(Path(config.inventory))
    if name not in inventory.hosts:
        raise UsageError(f"there is no host '{name}'", thing=config.board, action="correct 'host'")
    host = inventory.hosts[name]
    return connect(resolve(host, inventory), Access(password=lambda _: host.password))
