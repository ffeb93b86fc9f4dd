"""Plans: order, stages, and later items seen against the world that earlier ones leave."""

from collections.abc import Mapping
from typing import ClassVar

import pytest
from worlds import world_for

from labctl.errors import UsageError
from labctl.setup.facts import Fact, World
from labctl.setup.facts.path import PathFact, PathState
from labctl.setup.plan import arrange, make_plan, next_stage, steps, unique, watchers
from labctl.setup.resource import Change, Resource, resource_kind
from labctl.setup.resources.authorized_key import AuthorizedKey
from labctl.setup.resources.block import Block
from labctl.setup.resources.command import Command
from labctl.setup.resources.directory import Directory
from labctl.setup.resources.file import File
from labctl.setup.resources.line import Line
from labctl.setup.resources.link import Link
from labctl.setup.resources.package import Package
from labctl.setup.resources.service import Service
from labctl.setup.resources.sshd import Sshd
from labctl.setup.resources.user import Group, LoginShell, User

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBaCZ4gSRlDVYoCPjx1T4BQH7ByKnq5rVIhNdRuOL+rn me@here"


def ids(items: list[Resource]) -> list[str]:
    return [item.id for item in items]


def plan_on(items: list[Resource], said: Mapping[str, object] | None = None):  # noqa: ANN201
    return make_plan(items, world_for(items, said or {}))


# -- order and identity --------------------------------------------------------------------------


def test_the_same_item_twice_is_one() -> None:
    items = [Package(name="git"), File(path="/x", content="a"), Package(name="git")]
    assert ids(unique(items)) == ["package git", "file /x"]


def test_two_wishes_for_one_thing_are_a_mistake() -> None:
    with pytest.raises(UsageError, match="file /x: two items want different things"):
        unique([File(path="/x", content="a"), File(path="/x", content="b")])


def test_two_lines_or_blocks_in_one_file_are_two_things() -> None:
    items = [
        Line(path="/x", line="a"),
        Line(path="/x", line="b"),
        Block(path="/x", content="a"),
        Block(path="/x", content="b", name="two"),
    ]
    assert unique(items) == items


def test_two_keys_with_one_comment_are_two_things() -> None:
    other = KEY.replace("rVIhNdRuOL+rn", "rVIhNdRuOL+ro")
    items = [AuthorizedKey(user="a", key=KEY), AuthorizedKey(user="a", key=other)]
    assert unique(items) == items


def test_packages_come_together_and_sshd_last() -> None:
    sshd = Sshd(settings={"PasswordAuthentication": "no"})
    items: list[Resource] = [
        File(path="/a"),
        Package(name="one"),
        sshd,
        File(path="/b"),
        Package(name="two"),
        Directory(path="/c"),
    ]
    assert ids(arrange(items)) == [
        "file /a",
        "package one",
        "package two",
        "file /b",
        "directory /c",
        "sshd settings",
    ]
    assert arrange(arrange(items)) == arrange(items)


# -- the world of earlier items ------------------------------------------------------------------


def test_a_new_users_files_start_from_the_skeleton() -> None:
    items: list[Resource] = [
        User(name="anna"),
        Block(path="~anna/.bashrc", content="x", owner="anna"),
        AuthorizedKey(user="anna", key=KEY),
        LoginShell(user="anna", shell="/bin/zsh"),
    ]
    plan = plan_on(items, {"paths": {"/etc/skel/.bashrc": {"content": "skel\n"}, "/bin/zsh": {}}})
    assert not plan.problems
    assert [entry.change.summary for entry in plan.entries if entry.change] == [
        "create",
        "edit",
        "create",
        "set to /bin/zsh",
    ]
    edit = plan.entries[1].change
    assert edit is not None
    assert edit.backup == {"~anna/.bashrc": b"skel\n"}
    assert "+x" in edit.diff
    assert " skel" in edit.diff


def test_a_file_and_then_a_line_in_it() -> None:
    items: list[Resource] = [
        File(path="/etc/x", content="one\n", mode=0o600, owner="anna"),
        Line(path="/etc/x", line="two"),
    ]
    plan = plan_on(items)
    change = plan.entries[1].change
    assert change is not None
    state = change.effects[PathFact("/etc/x")]
    assert isinstance(state, PathState)
    assert (state.content, state.mode, state.owner) == (b"one\ntwo\n", 0o600, "anna")
    assert change.backup == {"/etc/x": b"one\n"}


def test_a_directory_and_then_what_is_in_it() -> None:
    items: list[Resource] = [
        Directory(path="/opt/a"),
        Directory(path="/opt/a/b"),
        File(path="/opt/a/b/f"),
        Link(path="/opt/a/l", target="b/f"),
    ]
    said = {"paths": {"/opt/a": "absent", "/opt/a/b": "absent"}}
    assert len(plan_on(items, said).changes) == 4
    assert [bool(entry.problem) for entry in plan_on(items[2:], said).entries] == [True, True]


def test_a_group_and_then_its_member() -> None:
    items: list[Resource] = [Group(name="gpu"), User(name="anna", groups=("gpu",))]
    said = {"users": {"anna": {}}}
    assert [entry.change.summary for entry in plan_on(items, said).changes if entry.change] == [
        "create",
        "groups gpu",
    ]
    assert plan_on(items[1:], said).problems


def test_planning_leaves_the_world_as_it_is() -> None:
    items: list[Resource] = [File(path="/x", content="a"), Line(path="/x", line="b")]
    world = world_for(items, {})
    make_plan(items, world)
    assert world.get(PathFact("/x"), PathState).type == "absent"


def test_one_problem_does_not_hide_the_other_items() -> None:
    items: list[Resource] = [
        File(path="/no/x"),
        File(path="/y", content="y"),
        Service(name="nothing"),
    ]
    plan = plan_on(items, {"paths": {"/no": "absent"}})
    assert [entry.item.id for entry in plan.problems] == ["file /no/x", "service nothing.service"]
    assert [entry.item.id for entry in plan.changes] == ["file /y"]


# -- stages and steps ----------------------------------------------------------------------------


class Proving(Command):
    """Something that has a login proved."""

    proves_login: ClassVar[bool] = True


def changes(*items: Resource) -> list:  # type: ignore[type-arg]
    return list(plan_on(list(items)).entries)


def command(name: str) -> Command:
    return Command(name=name, run="true", unless=f"test {name}")


def test_what_proves_a_login_is_a_stage_of_its_own() -> None:
    proving = Proving(name="p", run="true", unless="false")
    assert next_stage(changes(command("a"), command("b"))) == 2
    assert next_stage(changes(command("a"), proving, command("b"))) == 1
    assert next_stage(changes(proving, command("b"))) == 1
    assert next_stage([]) == 0


def test_neighbouring_packages_are_one_step() -> None:
    items = changes(
        Package(name="aa"), Package(name="bb"), command("c"), command("d"), Package(name="ee")
    )
    assert [[item.id for item, _ in group] for group in steps(items)] == [
        ["package aa", "package bb"],
        ["command c"],
        ["command d"],
        ["package ee"],
    ]


def test_an_installed_package_between_two_missing_ones_does_not_part_them() -> None:
    plan = plan_on(
        [Package(name="aa"), Package(name="bb"), Package(name="cc")], {"packages": {"bb": "1"}}
    )
    assert [[item.id for item, _ in group] for group in steps(plan.entries)] == [
        ["package aa", "package cc"]
    ]


def test_the_batch_of_packages_is_one_transaction() -> None:
    plan = plan_on(
        [Package(name="aa"), Package(name="bb", state="absent"), Package(name="cc")],
        {"packages": {"bb": "1"}},
    )
    (group,) = steps(plan.entries)
    assert "apt install aa+ bb- cc+" in Package.apply_batch(group)


def test_who_watches_what() -> None:
    items: list[Resource] = [
        File(path="/etc/a"),
        Service(name="x", restart_after=("file /etc/a",), reload_after=("file /etc/b",)),
        Service(name="y.timer", reload_after=("file /etc/a",)),
    ]
    assert watchers(items) == {
        "file /etc/a": [("x.service", "restart"), ("y.timer", "reload")],
        "file /etc/b": [("x.service", "reload")],
    }


def test_a_change_of_configuration_plans_the_reload_at_once() -> None:
    items: list[Resource] = [
        File(path="/etc/x.conf", content="new"),
        Service(name="x", reload_after=("file /etc/x.conf",)),
    ]
    said = {"units": {"x.service": {"enabled": "enabled", "active": "active"}}}
    assert [entry.change.summary for entry in plan_on(items, said).changes if entry.change] == [
        "create",
        "reload",
    ]


# -- kinds of resource ---------------------------------------------------------------------------


def test_the_nearest_kind_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean 'package'"):
        resource_kind("packages")
    with pytest.raises(UsageError, match="there are apt_sources, "):
        resource_kind("xyzzy")


def test_a_world_tells_what_it_was_never_told() -> None:
    class Odd(Fact):
        kind: ClassVar[str] = "odd"

    with pytest.raises(KeyError):
        World().get(PathFact("/x"), PathState)
    with pytest.raises(TypeError, match="is str, not PathState"):
        World({PathFact("/x"): "text"}).get(PathFact("/x"), PathState)
    with pytest.raises(TypeError):
        Odd()  # type: ignore[abstract]


def test_an_item_that_cannot_be_put_back_says_so() -> None:
    from labctl.setup.resource import ImpossibleError

    with pytest.raises(ImpossibleError, match="cannot be put back"):
        command("x").revert(Change("", "", ""))
