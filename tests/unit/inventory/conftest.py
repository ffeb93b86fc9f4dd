"""Fixtures of the inventory tests: nothing of the person who runs them is read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from labctl.inventory.loader import load_inventory
from labctl.inventory.model import Inventory


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home folder of the test's own."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    for name in ("CONFIG", "STATE", "DATA", "CACHE"):
        monkeypatch.delenv(f"XDG_{name}_HOME", raising=False)
    monkeypatch.delenv("LABCTL_INVENTORY", raising=False)
    return folder


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Inventory]:
    """Return a function that writes its text to ``tmp_path/inventory.yaml`` and loads it."""

    def write_and_load(text: str) -> Inventory:
        path = tmp_path / "inventory.yaml"
        path.write_text(text)
        return load_inventory(path)

    return write_and_load
