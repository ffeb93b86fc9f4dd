"""The last good reading of each inventory file, so that commands need not check it again.

Checking takes a quarter of a second, nearly all of it to import the validator; a command should
not pay that for a file that it found right a moment ago. An entry counts only for the same text,
the same place, the same home folder (``~``) and the same version of this room's code; anything
else, or a damaged entry, is as good as none. It holds nothing that the file itself does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from labctl import __version__
from labctl.fileio import write_atomic
from labctl.inventory.model import Board, FpgaProject, Host, Inventory
from labctl.inventory.virtual import Static
from labctl.paths import cache_dir, make_private


def recall(path: Path, text: str) -> Static | None:
    """Return what was kept for this file with this text, or None.

    Args:
        path: The inventory file, absolute.
        text: Its present content.
    """
    try:
        kept = json.loads(_place(path).read_text(encoding="utf-8"))
        return _decode(path, kept["static"]) if kept["key"] == _key(path, text) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def keep(path: Path, text: str, static: Static) -> None:
    """Keep ``static`` for the next time; a cache that cannot be written is no reason to fail."""
    content = json.dumps({"key": _key(path, text), "static": _encode(static)})
    with contextlib.suppress(OSError):
        make_private(_place(path).parent)
        write_atomic(_place(path), content)


def _place(path: Path) -> Path:
    name = hashlib.sha256(str(path).encode(errors="surrogateescape")).hexdigest()[:16]
    return cache_dir() / "inventories" / f"{name}.json"


def _key(path: Path, text: str) -> str:
    # The code's own files stand for its version while it is being worked on.
    code = [
        (one.name, one.stat().st_mtime_ns, one.stat().st_size)
        for one in sorted(Path(__file__).parent.glob("*.py"))
    ]
    facts = repr((__version__, code, str(path), str(Path.home()), text))
    return hashlib.sha256(facts.encode(errors="surrogateescape")).hexdigest()


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
