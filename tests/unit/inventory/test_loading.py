"""Inheritance, the running virtual lab, finding the file, and the repository's own inventory."""

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml

from labctl.errors import UsageError
from labctl.inventory.endpoints import Endpoint, publish, withdraw
from labctl.inventory.loader import find_inventory, load_inventory
from labctl.inventory.model import Inventory
from labctl.inventory.schema import json_schema

Load = Callable[[str], Inventory]
ROOT = Path(__file__).parents[3]

LAB = """
version: 1
defaults: {user: root, tags: [all-of-us], profiles: [base], vars: {net: {mtu: 1500, dns: [a]}}}
groups:
  lab: {user: lab, port: 2200, vars: {net: {mtu: 9000, dns: [b]}, site: one}}
  gpu: {parents: [lab], tags: [cuda], profiles: [base, gpu], sudo: true, vars: {site: two}}
  slow: {port: 2300, identity_files: [keys/slow, ~/slow, /abs/slow], vars: {net: {dns: [c]}}}
hosts:
  a: {groups: [gpu, slow], tags: [mine], vars: {own: 1}}
  b: {groups: [slow, gpu], user: me, sudo: false, profiles: []}
  c:
"""


def test_nearest_says(load: Load, tmp_path: Path, home: Path) -> None:
    hosts = load(LAB).hosts
    a, b, c = hosts["a"], hosts["b"], hosts["c"]
    assert list(hosts) == ["a", "b", "c"]
    assert a.groups == ("gpu", "slow", "lab")
    assert (a.user, a.port, a.sudo) == ("lab", 2300, True)
    assert a.identity_files == (str(tmp_path / "keys/slow"), str(home / "slow"), "/abs/slow")
    assert a.tags == {"all-of-us", "cuda", "mine"}
    assert a.profiles == ("base", "gpu")
    assert a.vars == {"net": {"mtu": 9000, "dns": ["c"]}, "site": "two", "own": 1}
    assert b.groups == ("slow", "gpu", "lab")
    assert (b.user, b.sudo, b.profiles) == ("me", False, ())
    assert (c.user, c.port, c.profiles, c.sudo) == ("root", None, ("base",), False)
    assert c.vars == {"net": {"mtu": 1500, "dns": ["a"]}}


def test_anchors_and_merge_keys(load: Load) -> None:
    hosts = load(
        "hosts:\n  a: &a {user: lab, port: 22}\n  b: &b {port: 23, tags: [x]}\n"
        "  c: {<<: [*a, *b], user: own}\n"
    ).hosts
    assert (hosts["c"].user, hosts["c"].port, hosts["c"].tags) == ("own", 22, {"x"})


def test_words_are_text_as_in_yaml_1_2(load: Load) -> None:
    found = load(
        "hosts: {a: {vars: {a: no, b: 2024-01-01, c: 22:22, d: 0o17, e: 1_000, f: ~, g: 1e3,"
        " h: .5, i: 0x1f, j: True, k: '1', l: .inf}}}"
    ).hosts["a"]
    assert list(found.vars.values()) == (
        ["no", "2024-01-01", "22:22", 15, "1_000", None, 1000.0, 0.5, 31, True, "1", ".inf"]
    )


def test_host_key_without_its_comment(load: Load) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0n3fwmRX8Wm8QBBlLg2dGTnGj9KXAxmjqXp2Yb0NqG"
    assert load(f"hosts: {{a: {{host_keys: ['{key} root@a']}}}}").hosts["a"].host_keys == (key,)


def test_boards_and_fpga(load: Load, tmp_path: Path) -> None:
    lab = load(
        "hosts: {pi: {}}\nboards: {uno: {model: arduino-uno, line: /dev/ttyACM0, host: pi,"
        " tags: [avr], settings: {baud: 115200}}}\nfpga: {cores: {path: fpga}}"
    )
    board = lab.boards["uno"]
    assert (board.model, board.line, board.host) == ("arduino-uno", "/dev/ttyACM0", "pi")
    assert (board.tags, board.settings) == ({"avr"}, {"baud": 115200})
    assert lab.fpga["cores"].path == tmp_path / "fpga"


VIRTUAL = """
defaults: {sudo: true, port: 2222, proxy_jump: gate, identity_files: [~/.ssh/own]}
groups:
  lab: {profiles: [base]}
  fleet: {parents: [lab], vars: {x: 1}}
hosts:
  box1: {virtual: box, groups: [lab]}
  box2: {virtual: box, user: admin}
"""


def test_virtual_box_follows_the_running_lab(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    down = load(VIRTUAL).hosts["box1"]
    assert (down.address, down.port, down.proxy_jump, down.virtual) == (None, None, None, "box")
    for name in ("box1", "box2"):
        publish(path, Endpoint(name, "box", "127.0.0.1", 4000, "root", "pw", ("ssh-ed25519 A",)))
    hosts = load(VIRTUAL).hosts
    up = hosts["box1"]
    assert (up.address, up.port, up.user, up.password) == ("127.0.0.1", 4000, "root", "pw")
    assert (up.host_keys, up.identity_files, up.sudo) == (("ssh-ed25519 A",), (), False)
    assert "pw" not in repr(up)
    # Another user than the new machine's own has not got its password.
    assert (hosts["box2"].user, hosts["box2"].password, hosts["box2"].sudo) == ("admin", None, True)
    withdraw(path, "box1")
    assert load(VIRTUAL).hosts["box1"].address is None


def test_fleet_boxes_join_in_natural_order(load: Load, tmp_path: Path) -> None:
    for name in ("fleet10", "fleet2", "box1"):
        publish(
            tmp_path / "inventory.yaml",
            Endpoint(name, "fleet", "127.1.0.2", 22, "root", None, (), "/key"),
        )
    hosts = load(VIRTUAL).hosts
    assert list(hosts) == ["box1", "box2", "fleet2", "fleet10"]
    box = hosts["fleet2"]
    assert (box.groups, box.tags, box.virtual) == (("fleet", "lab"), {"fleet"}, "fleet")
    assert (box.profiles, box.vars, box.identity_files) == (("base",), {"x": 1}, ("/key",))


def test_found_in_order(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "lab" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    with pytest.raises(UsageError, match=r"no inventory\.yaml in .*deep or above it, nor .*home"):
        find_inventory(None)
    own = home / ".config" / "labctl" / "inventory.yaml"
    own.parent.mkdir(parents=True)
    own.touch()
    assert find_inventory(None) == own
    (tmp_path / "lab" / "inventory.yaml").touch()
    assert find_inventory(None) == tmp_path / "lab" / "inventory.yaml"
    (tmp_path / "other.yaml").touch()
    monkeypatch.setenv("LABCTL_INVENTORY", str(tmp_path / "other.yaml"))
    assert find_inventory(None) == tmp_path / "other.yaml"
    assert find_inventory(str(own)) == own
    with pytest.raises(UsageError, match=r"no such file \(--inventory\)"):
        find_inventory("missing.yaml")
    monkeypatch.setenv("LABCTL_INVENTORY", "missing.yaml")
    with pytest.raises(UsageError, match=r"no such file \(\$LABCTL_INVENTORY\)"):
        find_inventory(None)


def test_inventory_of_the_repository() -> None:
    path = ROOT / "inventory.yaml"
    lab = load_inventory(path)
    assert {"box1", "box2"} <= set(lab.hosts)
    assert lab.hosts["box1"].virtual == "box"
    assert lab.hosts["box1"].profiles == ("base", "shell")
    assert lab.hosts["box1"].vars["tool_groups"] == ["core"]
    schema = json.loads(json.dumps(json_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(path.read_text()), schema)


@pytest.mark.parametrize(
    "data",
    [
        {"hosts": {"a": {"adress": "x"}}},
        {"hosts": {"a": {"port": 70000}}},
        {"hosts": {"a": {"port": "22"}}},
        {"hosts": {"a": {"user": "x y"}}},
        {"hosts": {"a": {"virtual": "cloud"}}},
        {"hosts": {"bad name": {}}},
        {"boards": {"uno": {}}},
        {"version": 2},
    ],
)
def test_schema_for_editors_refuses(data: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, json_schema())


def test_schema_describes_every_key() -> None:
    for model in json_schema()["$defs"].values():
        for key, entry in model["properties"].items():
            assert entry.get("description"), key
