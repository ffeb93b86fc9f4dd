"""The import rules of docs/architecture.md, held against the code itself.

``cli -> feature rooms -> facts -> transport, report -> inventory -> base``, and feature rooms ->
store -> base; feature rooms never import each other; what is slow to import stays out of what every
command imports.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "labctl"

BASE = {"errors", "paths", "fileio", "procs", "__init__"}
LOWER = {
    "inventory": set(),
    "store": set(),
    "transport": {"inventory", "report"},
    "report": {"inventory"},
    "facts": {"inventory", "transport", "report"},
}
# Rooms between the command line and the feature rooms: they put several of those together.
BETWEEN = {"metrics": {"health", "gpu"}}
# Modules that import these at their top make `labctl --help` slow.
SLOW = {
    "fabric",
    "invoke",
    "paramiko",
    "pydantic",
    "yaml",
    "psutil",
    "jsonschema",
    "pexpect",
    "serial",
    "pynvml",
    "cocotb",
    "cryptography",
    "prometheus_client",
    "sqlite3",
    "psycopg",
    "asyncio",
}
ALWAYS_IMPORTED = [
    "__init__.py",
    "errors.py",
    "paths.py",
    "fileio.py",
    "cli/__init__.py",
    "cli/main.py",
    "cli/common.py",
]

FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """Return the room of a module: its folder below ``labctl``, or its name if it is the base."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imports(path: Path, *, top_only: bool = False) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of each import; ``if TYPE_CHECKING`` is not one at run time."""

    def walk(nodes: list[ast.stmt]) -> Iterator[ast.stmt]:
        for node in nodes:
            yield node
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            if top_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for field in ("body", "orelse", "finalbody", "handlers", "cases"):
                inner = getattr(node, field, None)
                if isinstance(inner, list):
                    yield from walk(inner)

    for node in walk(ast.parse(path.read_text()).body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.lineno, str(node.module)
            if node.module == "labctl":
                for alias in node.names:
                    yield node.lineno, f"labctl.{alias.name}"


def rooms() -> set[str]:
    return {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}


FEATURES = rooms() - set(LOWER) - set(BETWEEN) - {"cli"}


def allowed(here: str) -> set[str]:
    """Return the rooms that a module of the room ``here`` may import."""
    if here in BASE:
        return BASE
    if here in LOWER:
        return BASE | LOWER[here] | {here}
    if here in BETWEEN:
        return BASE | set(LOWER) | BETWEEN[here] | {here}
    # The pytest plug-in is a door like the command line.
    if here in ("cli", "__main__", "pytest_plugin"):
        return BASE | rooms()
    return BASE | set(LOWER) | {here}  # a feature room, or a plug-in module of pytest


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    here = room(path)
    for line, name in imports(path):
        if name == "labctl":
            continue
        if name.startswith("labctl."):
            there = name.split(".")[1]
            known = there in rooms() or there in BASE
            assert not known or there in allowed(here), (
                f"{path}:{line}: {here} imports {name}, which is not below it"
            )


def test_there_are_feature_rooms_and_they_are_told_apart() -> None:
    assert {"setup", "vlab"} <= FEATURES
    assert "vlab" not in allowed("setup")
    assert "setup" not in allowed("vlab")
    assert "metrics" not in allowed("health")
    assert "vlab" not in allowed("metrics")
    assert "setup" not in allowed("transport")
    assert "facts" not in allowed("transport")
    assert "transport" not in allowed("inventory")
    assert "inventory" not in allowed("errors")
    assert "store" in allowed("gpu")
    assert allowed("store") == {*BASE, "store"}


def test_the_rule_finds_what_it_forbids(tmp_path: Path) -> None:
    """A check that sees nothing would pass on everything."""
    bad = tmp_path / "bad.py"
    bad.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import labctl.no\n"
        "def f():\n    from labctl.vlab import lab\n"
        "try:\n    import yaml\nexcept ImportError:\n    pass\n"
        "from labctl import setup\n"
    )
    every = {name for _, name in imports(bad)}
    assert every == {"typing", "labctl.vlab", "yaml", "labctl", "labctl.setup"}
    assert {name for _, name in imports(bad, top_only=True)} == every - {"labctl.vlab"}


@pytest.mark.parametrize("name", ALWAYS_IMPORTED)
def test_what_every_command_imports_is_quick(name: str) -> None:
    for line, imported in imports(PACKAGE / name, top_only=True):
        assert imported.split(".")[0] not in SLOW, f"{name}:{line}: {imported} is slow to import"


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda path: path.name)
def test_commands_import_no_third_party_package_but_click(path: Path) -> None:
    for line, imported in imports(path, top_only=True):
        first = imported.split(".")[0]
        assert first in sys.stdlib_module_names or first in ("labctl", "click"), (
            f"{path.name}:{line}: {imported}"
        )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["setup", "--help"],
        ["check", "--help"],
        ["inventory", "--help"],
        ["lab", "--help"],
        ["gpu", "--help"],
        ["serve-metrics", "--help"],
        ["console", "--help"],
        ["board", "--help"],
        ["fpga", "--help"],
        ["completion", "bash"],
        ["nonsense"],
    ],
)
def test_help_imports_nothing_slow(arguments: list[str]) -> None:
    program = (
        "import sys; sys.argv = ['labctl', *sys.argv[1:]]\n"
        "from labctl.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('MODULES', *sorted(m for m in sys.modules if '.' not in m))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = set(said.stdout.rpartition("MODULES")[2].split())
    assert "click" in loaded
    assert not loaded & (SLOW - {"asyncio", "sqlite3"}), said.stdout


def test_the_architecture_page_names_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    for name in rooms():
        assert f"{name}/" in page, f"docs/architecture.md does not name {name}/"


def test_no_module_is_a_monster() -> None:
    for path in FILES:
        assert len(path.read_text().splitlines()) < 450, path


def test_no_two_test_modules_have_one_name() -> None:
    # pytest imports them by their names alone, and passes over the second one with an error.
    names = [path.name for path in ROOT.glob("tests/**/test_*.py")]
    names += [path.name for path in ROOT.glob("hw_tests/test_*.py")]
    assert sorted(names) == sorted(set(names))
