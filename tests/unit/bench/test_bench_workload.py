import ast
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from workload import (
    SIZES,
    Workload,
    ansible_playbook,
    labctl_profile,
    make_workload,
    pyinfra_deploy,
)

from labctl.setup.profile import build_items, load_profile

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPYRQ/Pz3OCmL/VHmTe6d43MrjrMnCuetOipCKyZlrnk me@here"


@pytest.mark.parametrize("items", SIZES)
def test_labctl_takes_the_profile_and_makes_that_many_items(
    items: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = make_workload(items, KEY)
    folder = tmp_path / "labctl" / "profiles"
    folder.mkdir(parents=True)
    (folder / "workload-test.yaml").write_text(labctl_profile(work))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    load_profile.cache_clear()
    built = build_items(["workload-test"], {}, {})
    load_profile.cache_clear()
    assert work.items == items
    assert len({item.id for item in built}) == items


def test_twenty_items_are_of_every_kind() -> None:
    work = make_workload(20, KEY)
    assert all(getattr(work, field.name) for field in fields(Workload))


def test_a_larger_set_up_holds_the_smaller_ones() -> None:
    small, middle, large = (make_workload(items, KEY) for items in sorted(SIZES))
    for less, more in ((small, middle), (middle, large)):
        for field in fields(Workload):
            less_of, more_of = getattr(less, field.name), getattr(more, field.name)
            assert set(less_of) <= set(more_of)
            if isinstance(less_of, dict):
                assert less_of.items() <= more_of.items()


def things(work: Workload) -> set[str]:
    """Everything that every description must name."""
    several = (work.packages, work.folders, work.files, work.lines, work.lines.values())
    return {thing for one in (*several, work.users, work.users.values()) for thing in one}


def test_pyinfra_is_told_the_same(tmp_path: Path) -> None:
    work = make_workload(20, KEY)
    text = pyinfra_deploy(work, tmp_path)
    called = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    said = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
    assert things(work) <= said
    # Packages share one operation; a user, its key, and all the rest have one each.
    assert len(called) == work.items - len(work.packages) + 1


def test_ansible_is_told_the_same(tmp_path: Path) -> None:
    work = make_workload(20, KEY)
    [play] = json.loads(ansible_playbook(work, tmp_path))
    text = json.dumps(play)
    assert all(json.dumps(thing)[1:-1] in text for thing in things(work))
    assert len(play["tasks"]) == work.items - len(work.packages) + 1
    assert play["gather_facts"] is False


@pytest.mark.parametrize("write", [pyinfra_deploy, ansible_playbook])
def test_files_to_upload_have_the_content_that_labctl_checks(
    write: Callable[[Workload, Path], str], tmp_path: Path
) -> None:
    work = make_workload(20, KEY)
    write(work, tmp_path)
    uploaded = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert uploaded == {Path(path).name: text for path, text in work.files.items()}
