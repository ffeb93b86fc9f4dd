"""Worlds for tests: facts of a machine that nobody has, said in a few words of YAML."""

from collections.abc import Mapping
from typing import Any

from labctl.setup.facts import Fact, World
from labctl.setup.facts.account import GroupFact, GroupState, UserFact, UserState
from labctl.setup.facts.package import PackageFact, PackageState
from labctl.setup.facts.path import ABSENT, PathFact, PathState, digest
from labctl.setup.facts.system import (
    AptSourcesFact,
    ConditionFact,
    SshdFact,
    SshdState,
    SystemFact,
    SystemState,
)
from labctl.setup.facts.unit import UnitFact, UnitState
from labctl.setup.resource import Resource

FOLDER = PathState("directory", 0o755, "root", "root", 4096)


def path_state(said: Mapping[str, Any]) -> PathState:
    """Return the state of a path: a file unless said otherwise, with its digest worked out."""
    fields = {"type": "file", "mode": 0o644, "owner": "root", "group": "root", **said}
    content = fields.get("content")
    if isinstance(content, str):
        raw = content.encode()
        fields |= {"content": raw, "size": len(raw), "sha256": digest(raw)}
    return PathState(**fields)


def value_of(fact: Fact, said: Mapping[str, Any], folders: set[str]) -> object:
    """Return what the machine that ``said`` describes answers to ``fact``."""
    if isinstance(fact, PathFact):
        if fact.path in said.get("paths", {}):
            one = said["paths"][fact.path]
            return ABSENT if one == "absent" else path_state(one)
        return FOLDER if fact.path in folders else ABSENT
    if isinstance(fact, UserFact):
        one = said.get("users", {}).get(fact.name)
        return UserState() if one is None else UserState(**{"exists": True, **one})
    if isinstance(fact, GroupFact):
        members = said.get("groups", {}).get(fact.name)
        return GroupState() if members is None else GroupState(True, 100, frozenset(members))
    if isinstance(fact, PackageFact):
        version = said.get("packages", {}).get(fact.name)
        return PackageState(broken=True) if version == "broken" else PackageState(version)
    if isinstance(fact, UnitFact):
        unit = dict(said.get("units", {}).get(fact.name, {}))
        return UnitState(**unit | {"pending": frozenset(unit.get("pending", ()))})
    if isinstance(fact, ConditionFact):
        return bool(said.get("condition", False))
    if isinstance(fact, SystemFact):
        system = {"release": "bookworm", "distribution": "debian", **said.get("system", {})}
        return SystemState(**system | {"locales": frozenset(system.get("locales", ()))})
    if isinstance(fact, SshdFact):
        return SshdState(**said.get("sshd", {}))
    if isinstance(fact, AptSourcesFact):
        return dict(said.get("apt", {}))
    raise TypeError(f"no world of a test knows {fact}")


def world_for(items: list[Resource], said: Mapping[str, Any]) -> World:
    """Return the world that ``items`` look at; the folders of their paths are there."""
    folders = {
        path.rpartition("/")[0] or "/"
        for item in items
        if (path := str(getattr(item, "path", ""))).startswith(("/", "~"))
    }
    return World({fact: value_of(fact, said, folders) for item in items for fact in item.facts()})
