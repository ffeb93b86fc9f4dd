"""Facts in, change out: each file below ``cases/KIND/`` is one machine and what is to be done.

``item`` are the fields of the resource, ``world`` the facts (see `worlds`), ``changing`` ids of
earlier items that change. ``expect`` is null (nothing to do), ``impossible`` with the words of the
refusal, ``refused`` for an item that is wrong in itself, or parts of the change: ``summary``,
``before``, ``after``, ``files`` (path -> new content), ``backup``, ``shell`` (words that the
script holds), ``state`` (path -> fields of its new state).
"""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from worlds import world_for

from labctl.setup.facts.path import PathFact, PathState
from labctl.setup.resource import Change, ImpossibleError, resource_kind, resource_kinds

CASES = Path(__file__).parent / "cases"
FILES = sorted(CASES.glob("*/*.yaml"))
EARLIER = Change("earlier", "", "")


def read(path: Path) -> dict[str, Any]:
    case = yaml.safe_load(path.read_text())
    assert set(case) <= {"item", "world", "changing", "expect"}, path
    assert "expect" in case, path
    return dict(case)


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}/{path.stem}" for path in FILES])
def test_case(path: Path) -> None:
    case = read(path)
    kind, expect = resource_kind(path.parent.name), case["expect"]
    if expect and "refused" in expect:
        with pytest.raises(ValidationError, match=expect["refused"]):
            kind.model_validate(case["item"])
        return
    item = kind.model_validate(case["item"])
    world = world_for([item], case.get("world") or {})
    changing = dict.fromkeys(case.get("changing", ()), EARLIER)
    if expect and "impossible" in expect:
        with pytest.raises(ImpossibleError) as caught:
            item.plan(world, changing)
        assert expect["impossible"] in str(caught.value)
        return
    change = item.plan(world, changing)
    if expect is None:
        assert change is None
        return
    assert change is not None
    for word in ("summary", "before", "after"):
        if word in expect:
            assert getattr(change, word) == expect[word]
    for name, content in expect.get("files", {}).items():
        state = change.effects[PathFact(name)]
        assert isinstance(state, PathState)
        assert state.content is not None
        assert state.content.decode() == content
    for name, fields in expect.get("state", {}).items():
        state = change.effects[PathFact(name)]
        assert {key: getattr(state, key) for key in fields} == fields
    if "backup" in expect:
        assert {
            name: None if content is None else content.decode()
            for name, content in change.backup.items()
        } == expect["backup"]
    shell = item.apply(change)
    for words in expect.get("shell", ()):
        assert words in shell
    for words in expect.get("no_shell", ()):
        assert words not in shell
    # What the change foresees is all there is to do, and its script is a script.
    world.update(change.effects)
    packages = {name: EARLIER for name in changing if name.startswith("package ")}
    assert item.plan(world, packages) is None, "its own effects do not satisfy it"
    for text in (shell, item.apply_batch([(item, change)])):
        subprocess.run(["sh", "-n"], input=text.encode(), check=True, timeout=10)


def test_every_kind_has_cases_of_doing_nothing_and_of_a_change() -> None:
    for kind in resource_kinds():
        expected = [read(path)["expect"] for path in FILES if path.parent.name == kind]
        assert None in expected, f"{kind}: no case where nothing is to do"
        assert any(one and "summary" in one for one in expected), f"{kind}: no case of a change"


def test_every_field_says_its_default_and_no_kind_is_without_a_word_on_itself() -> None:
    for name, kind in resource_kinds().items():
        assert kind.__doc__, name
        assert kind.kind == name
        required = {key for key, field in kind.model_fields.items() if field.is_required()}
        assert kind.main in kind.model_fields, name
        for key in kind.model_fields.keys() - required:
            kind.model_fields[key].get_default(call_default_factory=True)  # raises if there is none
