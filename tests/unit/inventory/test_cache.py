"""A file found right is not checked again, and nothing stale or damaged is ever used."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labctl.inventory import cache, compiling
from labctl.inventory.diagnostics import InventoryError
from labctl.inventory.loader import load_inventory
from labctl.inventory.model import Inventory

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0n3fwmRX8Wm8QBBlLg2dGTnGj9KXAxmjqXp2Yb0NqG"
LAB = f"""
defaults: {{profiles: [base], vars: {{list: [1, 2.5, null, true, "é"], deep: {{a: {{b: c}}}}}}}}
groups: {{lab: {{tags: [t], sudo: true}}, fleet: {{vars: {{x: 1}}}}}}
hosts:
  a: {{address: 192.0.2.7, groups: [lab], host_keys: ['{KEY}'], identity_files: [~/k, rel]}}
  box1: {{virtual: box, user: admin}}
boards: {{uno: {{model: arduino-uno, host: a, tags: [avr], settings: {{baud: 9600}}}}}}
fpga: {{cores: {{path: rtl, tags: [f]}}}}
"""


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that grows by each file that is really checked."""
    seen: list[Path] = []
    real = compiling.compile_text

    def spy(text: str, path: Path) -> object:
        seen.append(path)
        return real(text, path)

    monkeypatch.setattr(compiling, "compile_text", spy)
    return seen


def entry(home: Path) -> Path:
    (found,) = (home / ".cache" / "labctl" / "inventories").iterdir()
    return found


def test_second_reading_is_the_same(load: Callable[[str], Inventory], checked: list[Path]) -> None:
    first = load(LAB)
    assert load(LAB) == first
    assert len(checked) == 1


def test_entry_is_private(load: Callable[[str], Inventory], home: Path) -> None:
    load(LAB)
    assert entry(home).stat().st_mode & 0o777 == 0o600


def test_other_text_home_or_place_is_checked(
    load: Callable[[str], Inventory],
    checked: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load(LAB)
    load(LAB + "# more\n")
    assert len(checked) == 2
    cache_home = Path(os.environ["HOME"]) / ".cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load(LAB).hosts["a"].identity_files[0] == f"{tmp_path}/k"
    assert len(checked) == 3
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "inventory.yaml").write_text(LAB)
    other = load_inventory(tmp_path / "other" / "inventory.yaml")
    assert other.fpga["cores"].path == tmp_path / "other" / "rtl"
    assert len(checked) == 4


def test_other_version_of_the_code_is_checked(
    load: Callable[[str], Inventory], checked: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(LAB)
    monkeypatch.setattr(cache, "__version__", "0")
    load(LAB)
    assert len(checked) == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": 1}', "null", "\0", "KEY"])
def test_damaged_entry_is_passed_over(
    damage: str, load: Callable[[str], Inventory], home: Path, checked: list[Path]
) -> None:
    first = load(LAB)
    path = entry(home)
    if damage == "KEY":
        key = path.read_text().split('"')[3]
        damage = f'{{"key": "{key}", "data": {{"hosts": [{{"bad": 1}}]}}}}'
    path.write_text(damage)
    assert load(LAB) == first
    assert len(checked) == 2


def test_mistakes_are_never_kept(load: Callable[[str], Inventory], home: Path) -> None:
    for _ in range(2):
        with pytest.raises(InventoryError):
            load("hosts: {a: {port: x}}")
    assert not (home / ".cache" / "labctl").exists()


def test_no_place_for_a_cache(load: Callable[[str], Inventory], home: Path) -> None:
    (home / ".cache").write_text("a file where a folder should be")
    assert "a" in load(LAB).hosts
    assert "a" in load(LAB).hosts


def test_validator_is_not_imported_again(tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_text(LAB)
    code = (
        "import sys; from pathlib import Path; from labctl.inventory.loader import load_inventory;"
        "load_inventory(Path('inventory.yaml'));"
        "print([name for name in ('pydantic', 'yaml', 'paramiko') if name in sys.modules])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for _ in range(2)
    ]
    assert runs == ["['pydantic', 'yaml']", "[]"]
