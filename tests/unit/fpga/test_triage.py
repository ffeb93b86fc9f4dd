from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.fpga.engines.triage import verdict

C_FRAME = 'Stack (most recent call first):\n  File "/p/cocotb/task.py", line 3 in _resume\n'
C_OWN = 'Stack (most recent call first):\n  File "/p/tb/test_x.py", line 9 in spin\n'
C_NONE = "Stack (most recent call first):\n  <no Python frame>\n"


def sample(time: float, *python: str) -> str:
    waits = ["/p/tb/test_x.py:7 in test_x", "/p/cocotb/triggers.py:1 in __await__"]
    return json.dumps({"time_ns": time, "python": list(python), "waits": waits}) + "\n"


IN_TEST = "/p/tb/test_x.py:9 in spin"
IN_COCOTB = "/p/cocotb/task.py:3 in _resume"


@pytest.mark.parametrize(
    ("before", "after", "kind", "words"),
    [
        (C_OWN + sample(5, IN_TEST) + C_OWN + sample(5, IN_TEST), "", "python", IN_TEST),
        (C_NONE + sample(5, IN_COCOTB) + C_NONE + sample(9, IN_COCOTB), "", "slow", "9 ns"),
        (sample(5, IN_COCOTB) + sample(5, IN_COCOTB), "", "delta", "waits at /p/tb/test_x.py:7"),
        (C_NONE + C_NONE, C_NONE + C_NONE + sample(7, IN_COCOTB), "hdl", "passing at 7 ns"),
        (C_NONE + C_NONE, "", "hdl", "simulated time"),
        (C_OWN + C_OWN, "", "python", IN_TEST),
        (C_FRAME, "", "hdl", "simulated time"),
        ("", "", "silent", "did not answer"),
        ('{"time_ns": 5, "py', "", "silent", "did not answer"),
    ],
)
def test_verdicts(before: str, after: str, kind: str, words: str) -> None:
    found = verdict(before, after or before, 3)
    assert found.kind == kind
    assert words in found.text
    assert "\n" not in found.text


@settings(deadline=None)
@given(st.text(), st.text())
def test_anything_gets_a_verdict_of_one_line(before: str, after: str) -> None:
    assert "\n" not in verdict(before, after, 1.5).text


@settings(deadline=None)
@given(st.lists(st.recursive(st.none() | st.floats() | st.text(), st.lists), max_size=4))
def test_samples_of_any_shape(values: list[object]) -> None:
    lines = "".join(
        json.dumps({"time_ns": one, "python": one, "waits": one}) + "\n" for one in values
    )
    assert verdict(lines, lines, 1).text
