"""An inventory after loading: plain, immutable objects that every other room reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Host:
    """A machine reached over SSH.

    What is None here was not said in the inventory; ``~/.ssh/config`` or ssh's default decides.

    Attributes:
        name: Its name in the inventory.
        address: Host name or address to connect to; the name is used if None.
        port: TCP port.
        user: Login user.
        identity_files: Private keys to offer, in this order, ``~`` expanded.
        proxy_jump: ``[user@]host[:port][,...]`` as in ssh_config(5).
        sudo: Become root through sudo after login.
        slurm_node: Its name as a node of Slurm, or None where it is none or is found.
        host_keys: Public host keys (``type base64``) that are the only ones accepted; empty to
            use known_hosts.
        tags: Words for selection.
        groups: Groups it is in, nearest first.
        profiles: Profiles that ``labctl setup`` applies, in order.
        vars: Values for the profiles' variables.
        virtual: Kind of virtual machine (``box``, ``fleet``) or None for a real one.
        gpus: Scenario of the simulated cards of a virtual machine; None for no cards.
        password: Password of a throw-away virtual machine, handed over by the virtual lab; never
            from a file that a person writes.
    """

    name: str
    address: str | None = None
    port: int | None = None
    user: str | None = None
    identity_files: tuple[str, ...] = ()
    proxy_jump: str | None = None
    sudo: bool = False
    slurm_node: str | None = None
    host_keys: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()
    groups: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    vars: Mapping[str, object] = field(default_factory=dict)
    virtual: str | None = None
    gpus: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Board:
    """A development board on a serial line.

    Attributes:
        name: Its name in the inventory.
        model: Folder name below ``boards/``.
        line: URL or device of its serial line; None for a virtual board that does not run.
        tags: Words for selection.
        virtual: True for a board that the virtual lab runs.
        settings: Everything else that was said about it.
        host: Name of the inventory host that it hangs on, or None for this machine.
        identity: What it says of itself, and no other board does: checked before it is flashed.
        power: How its power is switched: ``kind`` and that kind's own keys; empty if by hand.
        monitor: UNIX socket of a running virtual board's machine protocol, or None.
        folder: State folder of a running virtual board, which is gone when it is; or None.
    """

    name: str
    model: str
    line: str | None = None
    tags: frozenset[str] = frozenset()
    virtual: bool = False
    settings: Mapping[str, object] = field(default_factory=dict)
    host: str | None = None
    identity: Mapping[str, object] = field(default_factory=dict)
    power: Mapping[str, object] = field(default_factory=dict)
    monitor: str | None = None
    folder: str | None = None


@dataclass(frozen=True)
class FpgaProject:
    """A folder with FPGA designs and testbenches; ``path`` is absolute."""

    name: str
    path: Path
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Inventory:
    """One loaded inventory file.

    Attributes:
        path: The file, absolute.
        hosts: Hosts by name, in file order, groups and defaults already applied. Machines of the
            running virtual lab carry their present address, and light fleet boxes are added.
        boards: Boards by name.
        fpga: FPGA projects by name.
    """

    path: Path
    hosts: Mapping[str, Host]
    boards: Mapping[str, Board] = field(default_factory=dict)
    fpga: Mapping[str, FpgaProject] = field(default_factory=dict)
