"""Scripts of labctl board expect: mistakes have their places, what is typed is what was meant."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.boards.expect.script import ScriptError, load_script, parse_script
from labctl.boards.expect.words import fill, variables

ROOT = Path(__file__).parents[3]
MISTAKES = [
    ("steps: []", 1, "'steps' is empty"),
    ("- expect: x", 1, "a script is a mapping"),
    ("steps:\n  - expect: '('", 2, "is not a regular expression"),
    ("steps:\n  - expect: 'x*'", 2, "matches an empty line or nothing"),
    ("steps:\n  - expect: 3", 2, "'expect' is no pattern"),
    ("steps:\n  - expect: []", 2, "waits for nothing"),
    ("steps:\n  - expect: a\n    capture: [b]", 2, "has no group (?P<b>…)"),
    ("steps:\n  - run: ls\n    capture: [b]", 2, "a step without 'match' has no group"),
    ("steps:\n  - send: ${b}", 2, "nothing captures 'b' before; write '$${b}'"),
    ("steps:\n  - send: ${b", 2, "'${b' is no variable"),
    ("steps:\n  - sned: x", 2, "unknown key 'sned'; did you mean 'send'?"),
    ("steps:\n  - brake", 2, "must be a mapping"),
    ("steps:\n  - break: 60", 2, "is not the length of a break"),
    ("steps:\n  - {}", 2, "this step does nothing"),
    ("steps:\n  - send: a\n    run: b", 2, "'send' and 'run' are two steps"),
    ("steps:\n  - send: a\n    timeout: 3", 2, "'timeout' does not belong to 'send'"),
    ("steps:\n  - power: maybe", 2, "'on', 'off' or 'cycle'"),
    ("steps:\n  - control: Esc", 2, "has no control character"),
    ("steps:\n  - secret: my password", 2, "is not a name"),
    ("timeout: 0\nsteps:\n  - break", 1, "is not a time"),
    (
        "steps:\n  - expect:\n      - match: a\n        then:\n          - send: 1",
        5,
        "must be text",
    ),
    ("steps:\n  - break\n  - break\nsteps: 1", 4, "is there twice"),
    (
        "steps:\n  - expect:\n      - match: (?P<a>x)\n        capture: [a]\n        then: []\n"
        "      - match: y\n        then:\n          - send: ${a}",
        8,
        "nothing captures 'a' before",
    ),
]


@pytest.mark.parametrize(("text", "line", "says"), MISTAKES, ids=[one[2] for one in MISTAKES])
def test_a_mistake_is_named_with_its_place(text: str, line: int, says: str) -> None:
    with pytest.raises(ScriptError) as refused:
        parse_script(text, "s.yaml")
    lines = str(refused.value).splitlines()
    assert any(one.startswith(f"s.yaml:{line}:") and says in one for one in lines), lines


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ScriptError) as refused:
        parse_script("steps:\n  - sned: x\n  - expect: '('\n  - power: 3", "s.yaml")
    assert len(refused.value.diagnostics) == 3


def test_what_an_alternative_captures_is_known_after_it() -> None:
    script = parse_script(
        "steps:\n  - expect: [{match: '(?P<a>x)', capture: [a]}, y]\n  - send: '${a}'", "s"
    )
    assert [one.capture for one in script.steps[0].alternatives] == [("a",), ()]


def test_a_bare_break_and_a_bare_timeout_are_steps() -> None:
    script = parse_script(
        "steps:\n  - break\n  - timeout: 5\n  - secret: root\n  - secret: root", "s"
    )
    assert [(one.action, one.seconds, one.timeout_s) for one in script.steps[:2]] == [
        ("break", 0.25, None),
        ("timeout", 0.0, 5.0),
    ]
    assert script.secrets() == ["root"]


@pytest.mark.parametrize(
    "path",
    [path for path in ROOT.glob("boards/*/*.yaml") if "\nsteps:" in path.read_text()],
    ids=lambda path: path.name,
)
def test_the_scripts_that_labctl_brings_along_have_no_mistakes(path: Path) -> None:
    assert load_script(path).steps


def test_the_script_in_the_documentation_has_no_mistakes() -> None:
    page = (ROOT / "docs/boards.md").read_text()
    (text,) = re.findall(r"```yaml\n(description:.*?)```", page, re.DOTALL)
    assert len(parse_script(text, "boards.md").steps) == 7


def test_there_is_one() -> None:
    assert (ROOT / "boards/qemu-arm64/boot-order.yaml").exists()


@settings(deadline=None)
@given(st.text())
def test_no_text_is_a_defect(text: str) -> None:
    try:
        parse_script(text, "s.yaml")
    except ScriptError as error:
        assert error.diagnostics


_STEPS = st.recursive(
    st.dictionaries(
        st.sampled_from(["expect", "send", "break", "run", "timeout", "capture", "match", "then"]),
        st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.text(max_size=5)),
        max_size=3,
    ),
    lambda inner: st.fixed_dictionaries(
        {
            "expect": st.lists(
                st.fixed_dictionaries(
                    {"match": st.text(max_size=3), "then": st.lists(inner, max_size=2)}
                ),
                max_size=2,
            )
        }
    ),
    max_leaves=4,
)


@settings(deadline=None)
@given(st.lists(_STEPS, max_size=3))
def test_no_script_is_a_defect(steps: list[object]) -> None:
    try:
        parse_script(json.dumps({"steps": steps}), "s.yaml")
    except ScriptError as error:
        assert error.diagnostics


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(alphabet="ab$ {}", max_size=5), st.just("${v}")), max_size=6))
def test_a_value_stands_where_its_name_stood(parts: list[str]) -> None:
    text = "".join("${v}" if one == "${v}" else one.replace("${", "$${") for one in parts)
    # A dollar at the end of one part and a brace or a variable behind it make something else.
    if any(one.endswith("$") for one in parts):
        return
    wanted = "".join("VALUE" if one == "${v}" else one for one in parts)
    assert fill(text, {"v": b"VALUE"}) == wanted.encode()
    assert set(variables(text)) <= {"v"}
