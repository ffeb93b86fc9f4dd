"""Expressions of rules: three values, and nothing but comparing."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.facts.value import Known, Reason, Unknown, absent
from labctl.health.expr import ExpressionError, compile_expression
from labctl.health.words import compile_sentence, duration, size

LOST = Unknown(Reason.LOST, "gone")
TRUTH = {"t": Known(True), "f": Known(False), "u": LOST}


def value(text: str, **names: Any) -> object:
    return compile_expression(text).value({**TRUTH, **names})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("u and f", False),
        ("f and u", False),
        ("u and t", LOST),
        ("u or t", True),
        ("t or u", True),
        ("u or f", LOST),
        ("not u", LOST),
        ("u > 3", LOST),
        ("u + 1 > 3", LOST),
        ("1 < u < 0", LOST),
        ("5 < 4 < u", False),
        ("len(u) > 0", LOST),
        ("u in [1, 2]", LOST),
        ("known(u)", False),
        ("known(t)", True),
        ("reason(u) == 'lost'", True),
        ("reason(t)", ""),
        ("2 in [1, 2] and -1 < 0 and 6 / 3 == 2", True),
        ("max(1, 3) - min(1, 3)", 2),
        ("startswith('abc', 'ab')", True),
        ("version('2.4') < version('2.36')", True),
        ("version(u) < version('2.36')", LOST),
    ],
)
def test_values(text: str, result: object) -> None:
    assert value(text) == result


def test_attributes_are_opened_however_deep() -> None:
    things = {"a": Known({"b": Known({"c": Known(5)}), "d": LOST})}
    assert compile_expression("a.b.c == 5").value(things) is True
    assert compile_expression("a.d.e.f").value(things) == LOST
    assert compile_expression("a.nothing").value(things) == absent("no nothing")


def test_who_did_not_answer_has_said_no_reason() -> None:
    """The whole machine timed out; that is not its driver."""
    late = Unknown(Reason.TIMED_OUT)
    assert compile_expression("reason(d.smi) == 'timed_out'").value({"d": late}) == late
    assert compile_expression("reason(d.smi) == 'timed_out'").value({"d": {"smi": late}}) is True
    assert compile_expression("known(d.a.b)").value({"d": late}) == late


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "a.__class__",
        "(lambda: 1)()",
        "[x for x in a]",
        "a[0]",
        "a.b()",
        "f'{a}'",
        "a := 1",
        "1 ** 9999999",
        "'a' % 1",
        "{1: 2}",
        "",
        "a b",
        "(" * 500,
    ],
)
def test_the_language_ends_there(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text).value({"a": 1})


@pytest.mark.parametrize("text", ["nope", "nope(1)", "1 < 'a'", "1 / 0", "len(3)", "t.nope"])
def test_what_cannot_be_computed_is_an_error_and_not_a_value(text: str) -> None:
    with pytest.raises(ExpressionError):
        value(text)


_TREES = st.recursive(
    st.sampled_from(["t", "f", "u"]),
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("(not {})".format, inner),
    ),
    max_leaves=8,
)


@given(_TREES)
def test_unknown_means_that_both_are_possible(text: str) -> None:
    """Kleene: where it says true or false, it does so whatever the unknown would turn out to be."""
    result = value(text)
    either = {value(text, u=Known(True)), value(text, u=Known(False))}
    if isinstance(result, bool):
        assert either == {result}
    else:
        assert result == LOST


@given(st.text())
def test_no_text_does_anything_else_than_fail_cleanly(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        compile_expression(text).value({})


def test_sentences() -> None:
    names = {"share": 0.934, "free": 1_500_000, "who": ("ada", "bob"), "old": 7200.0, "u": LOST}
    text = "{share|percent} used, {free|bytes} left, {who|list}, {old|ago}, {u|bytes} {who|count}"
    assert compile_sentence(text).fill(names) == (
        "93% used, 2 MB left, ada, bob, 2 h ago, not known 2"
    )
    assert compile_sentence("{w|list}").fill({"w": list(range(9))}) == "0, 1, 2, 3, 4 and 4 more"


@given(st.integers(min_value=0, max_value=10**15))
def test_sizes_and_times_are_short(number: int) -> None:
    assert len(size(number)) <= 10
    assert len(duration(float(number))) < 20
