"""Profiles: references keep their type, mistakes are named, and all that are shipped build."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from labctl.errors import UsageError
from labctl.setup.plan import arrange, unique
from labctl.setup.profile import (
    build_items,
    load_profile,
    profile_folders,
    profile_names,
    values_for,
)
from labctl.setup.resource import Resource

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBaCZ4gSRlDVYoCPjx1T4BQH7ByKnq5rVIhNdRuOL+rn me@here"
CONTEXT: Mapping[str, object] = {
    "host": {"name": "box1"},
    "login": {"user": "root"},
    "control": {"admin": "anna", "public_key": KEY, "remote": True},
}
Build = Callable[..., list[Resource]]


@pytest.fixture
def build(home: Path) -> Build:
    """Return a function that writes a profile ``test`` and builds its items."""
    folder = home / ".config" / "labctl" / "profiles"
    folder.mkdir(parents=True)
    load_profile.cache_clear()

    def make(text: str, **given: object) -> list[Resource]:
        load_profile.cache_clear()
        (folder / "test.yaml").write_text("description: x\n" + text)
        return build_items(["test"], given, CONTEXT)

    return make


def names(items: list[Resource]) -> list[str]:
    return [item.id for item in items]


# -- what is shipped -----------------------------------------------------------------------------

SHIPPED = sorted(path.stem for path in profile_folders()[1].glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_builds_with_its_defaults(name: str) -> None:
    items = arrange(unique(build_items([name], {}, CONTEXT)))
    assert items
    assert len(set(names(items))) == len(items)


def test_all_shipped_profiles_build_together() -> None:
    assert unique(build_items(SHIPPED, {}, CONTEXT))


VALUES: Mapping[str, list[object]] = {
    "hostname": ["other"],
    "locale": ["C.UTF-8", "de_DE.UTF-8"],
    "timezone": ["Europe/Berlin"],
    "apt_components": [["main", "contrib"]],
    "apt_mirror": ["http://10.0.0.1/debian"],
    "security_upgrades": [True, False],
    "passwordless_sudo": [True, False],
    "admins": [[], [{"name": "bob", "keys": []}], [{"name": "bob", "keys": [KEY]}]],
    "tool_groups": [[], ["core"], ["core", "build", "media"]],
    "shell_users": [[], ["bob", "root"]],
    "login_shell": ["/bin/bash"],
    "labctl": ["/usr/bin/labctl"],
    "install_from": ["https://example.org/labctl_suite-1-py3-none-any.whl"],
    "record_hosts": ["@gpu gpu7"],
    "record_every": ["5min"],
    "gpu_database": ["postgresql://lab@db/gpu"],
    "gpu_inventory": ["/etc/labctl/inventory.yaml"],
}
EVERY = [(name, variable) for name in SHIPPED for variable in load_profile(name).body.variables]


@pytest.mark.parametrize(("name", "variable"), EVERY)
def test_each_variable_of_a_shipped_profile_does_something(name: str, variable: str) -> None:
    """A variable that changes no item, whatever its value, would be a lie in its help."""
    plain = [item.model_dump() for item in build_items([name], {}, CONTEXT)]
    assert variable in VALUES, "give the new variable values here"
    built = [
        [item.model_dump() for item in build_items([name], {variable: value}, CONTEXT)]
        for value in VALUES[variable]
    ]
    assert any(items != plain for items in built)


@pytest.mark.parametrize(("name", "variable"), EVERY)
def test_each_variable_of_a_shipped_profile_has_a_type_and_help(name: str, variable: str) -> None:
    described = load_profile(name).body.variables[variable]
    assert len(described.help) > 10
    wrong: object = 3.5
    with pytest.raises(UsageError, match=f"variable '{variable}': must be a {described.type}"):
        build_items([name], {variable: wrong}, CONTEXT)


def test_without_a_remote_login_sshd_is_left_alone() -> None:
    here = {**CONTEXT, "control": {"admin": "anna", "public_key": KEY, "remote": False}}
    kinds = {item.kind for item in build_items(["base"], {}, here)}
    assert "sshd" not in kinds
    assert "sshd" in {item.kind for item in build_items(["base"], {}, CONTEXT)}


def test_whoever_logs_in_gets_the_key_before_passwords_go() -> None:
    items = arrange(unique(build_items(["base"], {}, CONTEXT)))
    kinds = [item.kind for item in items]
    assert kinds[-1] == "sshd"
    keys = [item.user for item in items if item.kind == "authorized_key"]  # type: ignore[attr-defined]
    assert keys == ["anna", "root"]


def files_of(items: list[Resource]) -> dict[str, str]:
    """Return the files that ``items`` write: path -> content."""
    return {item.path: item.content for item in items if item.kind == "file"}  # type: ignore[attr-defined]


def test_cards_are_recorded_by_a_timer_whose_units_systemd_accepts(tmp_path: Path) -> None:
    program = shutil.which("true")
    assert program
    items = arrange(unique(build_items(["gpu-history"], {"labctl": program}, CONTEXT)))
    files = files_of(items)
    units = {path: text for path, text in files.items() if path.startswith("/etc/systemd/system/")}
    assert sorted(Path(path).suffix for path in units) == [".service", ".timer"]
    service = next(item for item in items if item.kind == "service")
    assert f"file /etc/systemd/system/{service.name}" in service.restart_after  # type: ignore[attr-defined]
    assert set(service.restart_after) == {f"file {path}" for path in units}  # type: ignore[attr-defined]
    # The recorder's limits: a sample is never late by more than history bridges.
    assert "gpu record local" in "".join(units.values())
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not installed here")
    for path, text in units.items():
        (tmp_path / Path(path).name).write_text(text)
    done = subprocess.run(
        [analyze, "verify", "--man=no", *sorted(str(path) for path in tmp_path.iterdir())],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "labctl" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


def test_where_labctl_is_missing_it_is_installed_or_asked_for() -> None:
    def command(**given: object) -> Resource:
        (found,) = [
            item for item in build_items(["gpu-history"], given, CONTEXT) if item.kind == "command"
        ]
        return found

    def run(item: Resource) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", "-c", item.run],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,  # type: ignore[attr-defined]
        )

    missing = run(command(labctl="/nowhere/labctl"))
    assert missing.returncode == 1
    assert "/nowhere/labctl does not run here: give 'install_from'" in missing.stderr
    wheel = "https://example.org/x.whl"
    assert f"pip install --quiet --disable-pip-version-check '{wheel}'" in (
        command(install_from=wheel).run  # type: ignore[attr-defined]
    )
    packages = names(build_items(["gpu-history"], {"install_from": wheel}, CONTEXT))
    assert "package python3-venv" in packages
    assert "package python3-venv" not in names(build_items(["gpu-history"], {}, CONTEXT))


def test_values_for_a_hosts_own_profiles_are_no_mistake_in_a_run_of_another() -> None:
    given = {"timezone": "Europe/Berlin", "labctl": "/usr/bin/labctl", "tyop": 1}
    own = ["base", "shell"]
    assert values_for(given, own, own) == given
    assert values_for(given, ["gpu-history", "shell", "base"], own) == given
    assert values_for(given, ["gpu-history"], own) == {"labctl": "/usr/bin/labctl", "tyop": 1}
    with pytest.raises(UsageError, match="no profile of this host has a variable 'tyop'"):
        build_items(["gpu-history"], values_for(given, ["gpu-history"], own), CONTEXT)


# -- references ----------------------------------------------------------------------------------


def test_a_value_that_is_one_reference_takes_its_type(build: Build) -> None:
    text = """
variables:
  bits: {type: integer, default: 0640, help: x}
items:
  - file: {path: "/etc/${host.name}.conf", content: "port ${bits}", mode: "${bits}"}
"""
    (item,) = build(text)
    assert item.model_dump(include={"path", "content", "mode"}) == {
        "path": "/etc/box1.conf",
        "content": "port 416",
        "mode": 0o640,
    }


def test_parts_and_parts_by_another_variable(build: Build) -> None:
    text = """
constants:
  tools: {core: [git, curl], extra: [gdb]}
  which: extra
items:
  - package: ${tools.core}
  - package: ${tools[which]}
  - package: ${tools[one]}
    for_each: [core]
    as: one
"""
    assert names(build(text)) == [f"package {n}" for n in ("git", "curl", "gdb", "git", "curl")]


def test_for_each_over_mappings_and_lists_within(build: Build) -> None:
    text = """
variables:
  people:
    type: list
    default: [{name: anna, groups: [sudo, dialout]}, {name: bob, groups: []}]
    help: x
items:
  - user: {name: "${p.name}", groups: "${p.groups}"}
    for_each: ${people}
    as: p
"""
    items = build(text)
    assert names(items) == ["user anna", "user bob"]
    assert [item.groups for item in items] == [("sudo", "dialout"), ()]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("condition", "there"),
    [
        ("true", True),
        ("false", False),
        ("${flag}", True),
        ('{value: "${host.name}", in: [box1, box2]}', True),
        ('{value: "${host.name}", not_in: [box1]}', False),
        ('{value: "${host.name}", not_in: [other]}', True),
    ],
)
def test_when(build: Build, condition: str, there: bool) -> None:
    text = f"""
variables:
  flag: {{type: boolean, default: true, help: x}}
items:
  - package: htop
    when: {condition}
"""
    assert names(build(text)) == (["package htop"] if there else [])


def test_a_default_may_refer_to_an_earlier_variable(build: Build) -> None:
    text = """
variables:
  first: {type: string, default: "${host.name}-x", help: x}
  second: {type: string, default: "${first}-y", help: x}
items:
  - hostname: ${second}
"""
    assert names(build(text)) == ["hostname box1-x-y"]
    assert names(build(text, first="z")) == ["hostname z-y"]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="$"), max_size=30))
def test_text_without_references_stays_as_it_is(text: str) -> None:
    from labctl.setup.profile import _fill

    assert _fill(text, {}, "here") == text


def test_what_a_variable_holds_is_not_read_as_a_reference(build: Build) -> None:
    text = """
variables:
  motd: {type: string, default: "", help: x}
items:
  - file: {path: /etc/motd, content: "[${motd}]"}
"""
    (item,) = build(text, motd="${control.public_key}")
    assert item.content == "[${control.public_key}]"  # type: ignore[attr-defined]


# -- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("items: [{package: '${tols}'}]", "there is no variable 'tols'"),
        ("items: [{hostname: '${host.nam}'}]", "'host.nam' has no part 'nam'; there are name"),
        ("items: [{hostname: '${host name}'}]", "is not a reference"),
        ("items: [{hostname: '${}'}]", "there is no variable ''"),
        ("items: [{hostnam: x}]", "did you mean 'hostname'?"),
        ("items: [{hostname: x, package: y}]", "one kind of resource, not hostname, package"),
        ("items: [{when: true}]", "one kind of resource, not none"),
        ("items: [{package: x, for_each: y}]", "for_each needs a list"),
        ("items: [{package: htop, when: {value: 1}}]", "'in' or 'not_in'"),
        ("items: [{file: {path: relative}}]", "a path starts with / or ~user/"),
        ("items: [{file: {path: /x, mod: 1}}]", "mod"),
        ("items: 7", "items"),
        ("itmes: []", "items"),
        ("variables: {x: {type: strng, default: a, help: b}}\nitems: []", "pattern"),
        ("items: [", "test.yaml"),
    ],
)
def test_a_mistake_is_named_in_one_line(build: Build, text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_binary_and_empty_files_are_mistakes_too(build: Build, home: Path) -> None:
    build("items: []")
    path = home / ".config/labctl/profiles/test.yaml"
    for content in (b"", b"\xff\xfe\x00", b"\x00" * 10, b"- 1"):
        path.write_bytes(content)
        load_profile.cache_clear()
        with pytest.raises(UsageError, match=r"test\.yaml"):
            load_profile("test")


def test_the_nearest_variable_is_named(build: Build) -> None:
    with pytest.raises(UsageError, match="did you mean 'timezone'"):
        build_items(["base"], {"timezon": "x"}, CONTEXT)
    with pytest.raises(UsageError, match="there are none"):
        build("items: []", something=1)


def test_the_nearest_profile_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean 'shell'"):
        load_profile("shel")
    with pytest.raises(UsageError, match="there are base, gpu-history, shell"):
        load_profile("xyzzy")


def test_the_users_own_profile_goes_before_a_shipped_one(home: Path) -> None:
    folder = home / ".config" / "labctl" / "profiles"
    folder.mkdir(parents=True)
    (folder / "base.yaml").write_text("description: mine\nitems: []\n")
    load_profile.cache_clear()
    try:
        assert load_profile("base").body.description == "mine"
        assert "base" in profile_names()
    finally:
        load_profile.cache_clear()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_says_what_it_is_for(name: str) -> None:
    body: dict[str, Any] = yaml.safe_load(load_profile(name).path.read_text())
    assert len(body["description"]) > 20
