"""Conditions of FuseSoC's .core files."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.fpga.readers.conditions import each, expand

names = st.from_regex(r"[a-z_][a-z_0-9.:/>=-]{0,8}", fullmatch=True)
# A tree of words and conditions, and what it means.
trees = st.recursive(
    names,
    lambda inner: st.tuples(st.booleans(), names, st.lists(inner, max_size=3)),
    max_leaves=12,
)
Tree = object


def written(tree: Tree) -> str:
    if isinstance(tree, str):
        return tree
    negated, flag, inner = tree  # type: ignore[misc]
    return f"{'!' * negated}{flag} ? ({' '.join(map(written, inner))})"


def meant(tree: Tree, flags: set[str]) -> list[str]:
    if isinstance(tree, str):
        return [tree]
    negated, flag, inner = tree  # type: ignore[misc]
    if (flag in flags) == negated:
        return []
    return [word for one in inner for word in meant(one, flags)]


@given(st.lists(trees, max_size=4), st.sets(names))
def test_what_was_written_is_what_is_meant(some: list[Tree], flags: set[str]) -> None:
    expected = [word for tree in some for word in meant(tree, flags)]
    assert expand(" ".join(map(written, some)), flags) == " ".join(expected)


@given(st.text(alphabet="ab?!() ", max_size=30))
def test_any_text_is_expanded_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        expand(text, {"a"})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("rtl/a.v", "rtl/a.v"),
        ("tool_icarus? (rtl/a.v)", "rtl/a.v"),
        ("!tool_icarus ? (rtl/a.v)", ""),
        ("tool_verilator ? (x) !tool_verilator ? (y)", "y"),
        ("target_sim ? (tool_icarus ? (a) b)", "a b"),
    ],
)
def test_examples(text: str, result: str) -> None:
    assert expand(text, {"tool_icarus", "target_sim"}) == result


@pytest.mark.parametrize("text", ["a ? b", "a ? (b", "b)", "? (a)", "(a)"])
def test_what_fusesoc_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        expand(text, set())


def test_lists_and_single_texts() -> None:
    assert list(each(["a", "no ? (b)", 3], set())) == ["a"]
    assert list(each("a", set())) == ["a"]
    assert list(each(None, set())) == []
