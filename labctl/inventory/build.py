"""From a validated file to plain objects, with inheritance applied.

A host's own settings win over those of its groups, in the order in which the host lists them, then
over the parents of these groups, level by level, then over ``defaults``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from labctl.inventory import schema
from labctl.inventory.model import Board, FpgaProject, Host, Inventory
from labctl.inventory.virtual import FLEET, Static

T = TypeVar("T")


def build(path: Path, file: schema.InventoryFile) -> Static:
    """Return what ``file`` says, groups and defaults applied.

    Args:
        path: The file, absolute; relative paths in it start from its folder.
        file: Its validated content.
    """
    inherited = _Inheritance(file)
    hosts = {
        name: _host(path, name, entry or schema.HostEntry(), inherited)
        for name, entry in (file.hosts or {}).items()
    }
    fleet = schema.HostEntry(virtual="box", groups=[FLEET], tags=[FLEET])
    inventory = Inventory(
        path=path,
        hosts=hosts,
        boards={name: _board(name, entry) for name, entry in (file.boards or {}).items()},
        fpga={
            name: FpgaProject(
                name, _resolve_path(path, entry.path), tags=frozenset(entry.tags or ())
            )
            for name, entry in (file.fpga or {}).items()
        },
    )
    return Static(inventory, _host(path, FLEET, fleet, inherited))


class _Inheritance:
    """What hosts inherit, worked out once for each combination of groups that occurs."""

    def __init__(self, file: schema.InventoryFile) -> None:
        self._groups = file.groups or {}
        self._defaults = file.defaults or schema.Settings()
        self._known: dict[tuple[str, ...], tuple[tuple[str, ...], schema.Settings]] = {}

    def of(self, named: Iterable[str]) -> tuple[tuple[str, ...], schema.Settings]:
        """Return ``named`` with all ancestors, nearest first, and what they and defaults say."""
        key = tuple(named)
        if key not in self._known:
            line: dict[str, None] = {}
            level: Iterable[str] = key
            while level:
                new = [name for name in dict.fromkeys(level) if name not in line]
                line.update(dict.fromkeys(new))
                level = [parent for name in new for parent in self._group(name).parents or ()]
            layers = [*map(self._group, line), self._defaults]
            self._known[key] = (tuple(line), _fold(layers))
        return self._known[key]

    def _group(self, name: str) -> schema.GroupEntry:
        return self._groups.get(name) or schema.GroupEntry()


def _fold(layers: Sequence[schema.Settings]) -> schema.Settings:
    """Return one for ``layers``, of which the first has the last word."""
    # They are validated already.
    return schema.Settings.model_construct(
        user=_first(layer.user for layer in layers),
        port=_first(layer.port for layer in layers),
        identity_files=_first(layer.identity_files for layer in layers),
        proxy_jump=_first(layer.proxy_jump for layer in layers),
        sudo=_first(layer.sudo for layer in layers),
        tags=list(dict.fromkeys(tag for layer in layers for tag in layer.tags or ())),
        profiles=_first(layer.profiles for layer in layers),
        vars=_merge_all(layer.vars for layer in reversed(layers)),
    )


def _host(path: Path, name: str, entry: schema.HostEntry, inheritance: _Inheritance) -> Host:
    groups, inherited = inheritance.of(entry.groups or ())
    said = _fold([entry, inherited])
    everywhere = Host(
        name=name,
        user=said.user,
        sudo=bool(said.sudo),
        slurm_node=entry.slurm_node,
        tags=frozenset(said.tags or ()),
        groups=groups,
        profiles=tuple(said.profiles or ()),
        vars=said.vars or {},
    )
    if entry.virtual:
        # How it is reached comes from the running lab, not from groups meant for real machines.
        return replace(everywhere, user=entry.user, virtual=entry.virtual, gpus=entry.gpus)
    return replace(
        everywhere,
        address=entry.address,
        port=said.port,
        identity_files=tuple(str(_resolve_path(path, one)) for one in said.identity_files or ()),
        proxy_jump=said.proxy_jump,
        host_keys=tuple(entry.host_keys or ()),
    )


def _board(name: str, entry: schema.BoardEntry) -> Board:
    return Board(
        name=name,
        model=entry.model,
        line=entry.line,
        tags=frozenset(entry.tags or ()),
        virtual=entry.virtual,
        settings=entry.settings or {},
        host=entry.host,
        identity=entry.identity or {},
        power=entry.power or {},
    )


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)


def _merge_all(layers: Iterable[Mapping[str, object] | None]) -> dict[str, object]:
    merged: dict[str, object] = {}
    for layer in layers:
        merged = _merge(merged, layer or {})
    return merged


def _merge(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


def _resolve_path(inventory: Path, text: str) -> Path:
    """Return ``text`` with ``~`` expanded, relative to the inventory's folder."""
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # "~nobody-of-this-name/": the file is simply not there
        path = Path(text)
    return inventory.parent / path
