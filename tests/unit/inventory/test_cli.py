"""The commands, run as a person runs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BROKEN = Path(__file__).parent / "broken"


def labctl(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "labctl", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_check_fine() -> None:
    done = labctl("inventory", "check", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("inventory.yaml: 2 hosts, ")
    assert done.stdout.endswith(": fine\n")


@pytest.mark.parametrize("name", ["wrong_types", "secrets", "binary", "empty", "alias_bomb"])
def test_check_names_every_mistake(name: str) -> None:
    done = labctl("--inventory", f"{name}.yaml", "inventory", "check", cwd=BROKEN)
    assert done.returncode == 2
    assert done.stdout == (BROKEN / f"{name}.expected").read_text()
    assert done.stderr == ""


def test_check_json() -> None:
    done = labctl("-i", "cycles.yaml", "inventory", "check", "--json", cwd=BROKEN)
    data = json.loads(done.stdout)
    assert done.returncode == 2
    assert (data["schema"], data["fine"]) == ("labctl.inventory-check/1", False)
    assert [one["line"] for one in data["mistakes"]] == [4, 5, 8]


def test_other_commands_name_the_mistakes_as_well() -> None:
    done = labctl("-i", "cycles.yaml", "inventory", "show", cwd=BROKEN)
    assert done.returncode == 2
    expected = (BROKEN / "cycles.expected").read_text().splitlines()
    assert done.stderr.splitlines() == [f"labctl: {line}" for line in expected]


def test_no_inventory(tmp_path: Path) -> None:
    done = labctl("inventory", "check", cwd=tmp_path)
    assert done.returncode == 2
    assert "no inventory.yaml in" in done.stderr
    assert "Traceback" not in done.stderr


LAB = """
groups: {lab: {user: lab, vars: {zone: x}}}
hosts: {gpu1: {address: 192.0.2.7, groups: [lab], tags: [cuda]}, other: {}}
boards: {uno: {model: arduino-uno, line: /dev/ttyACM0}}
fpga: {cores: {path: rtl}}
"""


def test_show(tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_text(LAB)
    table = labctl("inventory", "show", cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    for part in ("lab@192.0.2.7:22", "cuda", "arduino-uno", "/dev/ttyACM0", "FPGA PROJECT"):
        assert part in table.stdout
    one = labctl("inventory", "show", "@cuda", cwd=tmp_path)
    assert "gpu1 (host)" in one.stdout
    assert '{"zone": "x"}' in one.stdout
    assert "other" not in one.stdout
    data = json.loads(labctl("inventory", "show", "gpu1", "uno", "--json", cwd=tmp_path).stdout)
    assert [host["hostname"] for host in data["hosts"]] == ["192.0.2.7"]
    assert [board["name"] for board in data["boards"]] == ["uno"]
    assert data["fpga"] == []
    missing = labctl("inventory", "show", "gpu2", "--json", cwd=tmp_path)
    assert missing.returncode == 2
    assert json.loads(missing.stdout)["error"]["thing"] == ""
    assert "did you mean 'gpu1'?" in missing.stderr


def test_schema_is_json() -> None:
    done = labctl("inventory", "schema", cwd=ROOT)
    assert json.loads(done.stdout)["title"] == "labctl inventory"


def test_import(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host gpu1\n HostName 192.0.2.7\n ForwardAgent yes\n")
    printed = labctl("inventory", "import", "config", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert "address: 192.0.2.7" in printed.stdout
    assert "warning: forwardagent of gpu1" in printed.stderr
    written = labctl("inventory", "import", "config", "-o", "inventory.yaml", cwd=tmp_path)
    assert written.stdout == "inventory.yaml: 1 host, 0 groups\n"
    assert labctl("inventory", "check", cwd=tmp_path).returncode == 0
    data = json.loads(labctl("inventory", "import", "config", "--json", cwd=tmp_path).stdout)
    assert (data["schema"], data["text"]) == ("labctl.inventory-import/1", printed.stdout)
    assert "forwardagent" in data["warnings"][0]
    again = labctl("inventory", "import", "config", "-o", "inventory.yaml", cwd=tmp_path)
    assert again.returncode == 2
    assert "exists already" in again.stderr


@pytest.mark.parametrize("command", ["check", "show", "schema", "import"])
def test_help_has_examples(command: str) -> None:
    done = labctl("inventory", command, "--help", cwd=ROOT)
    assert "Examples:" in done.stdout
