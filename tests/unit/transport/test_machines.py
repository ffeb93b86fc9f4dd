"""Which machines a run is about, and which of them are connected to ahead."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from labctl.errors import UnreachableError, UsageError
from labctl.inventory.loader import load_inventory
from labctl.inventory.model import Inventory
from labctl.inventory.resolve import ResolvedHost
from labctl.transport.early import EarlyConnections
from labctl.transport.machines import choose, connect_early

TEXT = """\
hosts:
  a: {address: 192.0.2.1, tags: [t]}
  b: {address: 192.0.2.2, tags: [t]}
  off: {virtual: box, tags: [t]}
  c: {address: 192.0.2.3}
"""


@pytest.fixture
def lab(home: Path, tmp_path: Path) -> Inventory:
    path = tmp_path / "inventory.yaml"
    path.write_text(TEXT)
    return load_inventory(path)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def note(self: object, targets: Iterable[ResolvedHost], *, timeout: float) -> None:
        names.extend(target.name for target in targets)

    monkeypatch.setattr(EarlyConnections, "open", note)
    return names


def test_what_is_not_running_is_told_later_and_keeps_nobody_from_work(lab: Inventory) -> None:
    machines = choose(["@t"], lambda: lab, verb="setup")
    assert [host.name for host in machines.hosts] == ["a", "b", "off"]
    assert isinstance(machines.target(lab.hosts["a"]), ResolvedHost)
    assert isinstance(machines.target(lab.hosts["off"]), UnreachableError)


def test_this_machine_needs_no_inventory() -> None:
    def load() -> Inventory:
        raise AssertionError("not needed")

    assert choose(["local"], load, verb="check").hosts == ()


def test_this_machine_is_not_one_of_several(lab: Inventory) -> None:
    with pytest.raises(UsageError, match="'local' goes by itself; labctl setup local"):
        choose(["local", "a"], lambda: lab, verb="setup")


def test_those_at_work_first_are_connected_to(lab: Inventory, begun: list[str]) -> None:
    machines = choose(["all"], lambda: lab, verb="setup")
    connect_early(machines, first=50, timeout=1)
    assert begun == ["a", "b", "c"]
    begun.clear()
    connect_early(machines, first=1, timeout=1)
    assert begun == ["a"]
