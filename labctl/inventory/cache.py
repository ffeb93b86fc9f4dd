"""The last good reading of each inventory file, so that commands need not check it again.

An entry counts only for the same text, the same place, the same home folder (``~``) and the same
version of this room's code; see `labctl.inventory.kept`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labctl import __version__
from labctl.inventory.kept import keep_reading, key_of, recall_reading
from labctl.inventory.model import Board, FpgaProject, Host, Inventory
from labctl.inventory.virtual import Static

_ROOM = "inventories"


def recall(path: Path, text: str) -> Static | None:
    """Return what was kept for this file with this text, or None.

    Args:
        path: The inventory file, absolute.
        text: Its present content.
    """
    kept = recall_reading(_ROOM, str(path), _key(path, text))
    try:
        return None if kept is None else _decode(path, kept)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def keep(path: Path, text: str, static: Static) -> None:
    """Keep ``static`` for the next time; a cache that cannot be written is no reason to fail."""
    keep_reading(_ROOM, str(path), _key(path, text), _encode(static))


def _key(path: Path, text: str) -> str:
    code = Path(__file__).parent.glob("*.py")
    return key_of(__version__, str(path), str(Path.home()), text, code=code)


def _encode(static: Static) -> dict[str, Any]:
    inventory = static.inventory
    return {
        "hosts": [_host_data(host) for host in inventory.hosts.values()],
        "fleet": _host_data(static.fleet),
        "boards": [
            {**board.__dict__, "tags": sorted(board.tags)} for board in inventory.boards.values()
        ],
        "fpga": [
            {"name": one.name, "path": str(one.path), "tags": sorted(one.tags)}
            for one in inventory.fpga.values()
        ],
    }


def _host_data(host: Host) -> dict[str, Any]:
    # What has its default value is left out: most of a host.
    blank = Host(host.name).__dict__
    said = {key: value for key, value in host.__dict__.items() if value != blank[key]}
    return {**said, "name": host.name, "tags": sorted(host.tags)}


def _host(data: dict[str, Any]) -> Host:
    lists = ("identity_files", "host_keys", "groups", "profiles")
    fixed = {key: tuple(data[key]) for key in lists if key in data}
    return Host(**{**data, **fixed, "tags": frozenset(data["tags"])})


def _decode(path: Path, data: dict[str, Any]) -> Static:
    hosts = [_host(one) for one in data["hosts"]]
    boards = [Board(**{**one, "tags": frozenset(one["tags"])}) for one in data["boards"]]
    fpga = [
        FpgaProject(one["name"], Path(one["path"]), frozenset(one["tags"])) for one in data["fpga"]
    ]
    inventory = Inventory(
        path=path,
        hosts={one.name: one for one in hosts},
        boards={one.name: one for one in boards},
        fpga={one.name: one for one in fpga},
    )
    return Static(inventory, _host(data["fleet"]))
