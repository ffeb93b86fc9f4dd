"""How the running virtual lab tells the rest of labctl where its machines are.

The virtual lab writes one small file for each machine or board it runs; the inventory loader
reads them. So no other room knows the virtual lab, and it knows no other room. A lab belongs to
one inventory file and one user: two clones, or two users, never see each other's machines.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from labctl.fileio import write_atomic
from labctl.paths import make_private, state_dir


@dataclass(frozen=True)
class Endpoint:
    """Where a virtual machine can be reached now.

    Attributes:
        name: Name of the machine, as in the inventory (fleet boxes are only here).
        kind: ``box`` (QEMU) or ``fleet`` (namespaces).
        address: Loopback address of its sshd.
        port: TCP port of its sshd.
        user: Login user of a new machine (root).
        password: Its throw-away password, random for each machine; None where a key is used.
        host_keys: Its public host keys, ``type base64``.
        identity_file: Private key that it accepts from the start, or None.
    """

    name: str
    kind: str
    address: str
    port: int
    user: str
    password: str | None = field(default=None, repr=False)
    host_keys: tuple[str, ...] = ()
    identity_file: str | None = None


@dataclass(frozen=True)
class BoardEndpoint:
    """Where a virtual board can be reached now.

    Attributes:
        name: Name of the board, as in the inventory.
        kind: ``qemu``, ``scripted``, ``avr`` or ``rom``.
        line: URL of its serial line, in the forms that an inventory's ``line`` has.
        monitor: UNIX socket of its QEMU machine protocol: power, reset, status.
        folder: Its folder in the lab's state; gone when the board is.
    """

    name: str
    kind: str
    line: str
    monitor: str
    folder: str


def lab_dir(inventory: Path) -> Path:
    """Return the state folder of the lab that belongs to the inventory file ``inventory``."""
    key = f"{os.getuid()}:{inventory.resolve()}"
    return state_dir() / "labs" / hashlib.sha256(key.encode()).hexdigest()[:12]


def publish(inventory: Path, endpoint: Endpoint | BoardEndpoint) -> None:
    """Make ``endpoint`` known; the file is readable by its owner only (it holds the password)."""
    folder = make_private(_folder(inventory, type(endpoint)))
    write_atomic(folder / f"{endpoint.name}.json", json.dumps(asdict(endpoint)), mode=0o600)


def withdraw(inventory: Path, name: str) -> None:
    """Forget the machine or board ``name``; nothing happens if it is not known."""
    for kind in (Endpoint, BoardEndpoint):
        (_folder(inventory, kind) / f"{name}.json").unlink(missing_ok=True)


def read_endpoints(inventory: Path) -> dict[str, Endpoint]:
    """Return the machines of the running lab by name; files that are not ours are passed over."""
    return _read(inventory, Endpoint)


def read_board_endpoints(inventory: Path) -> dict[str, BoardEndpoint]:
    """Return the boards of the running lab by name; files that are not ours are passed over."""
    return _read(inventory, BoardEndpoint)


E = TypeVar("E", Endpoint, BoardEndpoint)


def _folder(inventory: Path, kind: type[Endpoint] | type[BoardEndpoint]) -> Path:
    return lab_dir(inventory) / ("boards" if kind is BoardEndpoint else "endpoints")


def _read(inventory: Path, kind: type[E]) -> dict[str, E]:
    found: dict[str, E] = {}
    folder = _folder(inventory, kind)
    if not folder.is_dir():
        return {}
    for path in sorted(folder.glob("*.json")):
        try:
            data = json.loads(path.read_text())
            fixed = {key: tuple(one) for key, one in data.items() if isinstance(one, list)}
            found[data["name"]] = kind(**{**data, **fixed})
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            continue
    return found
