from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.fpga.readers.core_file import read_core, variants_of
from labctl.fpga.schema import json_schema
from labctl.inventory.diagnostics import InventoryError

MakeCore = Callable[..., Path]
GOOD = "description: A wire\ntop: wire_\nsources: [rtl/wire.v]\n"


def test_a_core_has_its_folders_name_and_its_tests(make_core: MakeCore) -> None:
    core = read_core(make_core())
    assert core.name == "wire"
    assert [one.name for one in core.sources] == ["wire.v"]
    assert [one.label for one in core.tests] == ["test_wire.test_it"]
    assert [one.name for one in core.variants] == [""]


@pytest.mark.parametrize(
    ("more", "place", "words"),
    [
        ("sorces: [x.v]\n", "4:1", "did you mean 'sources'?"),
        ("tests: [test_none]\n", "4:9", "there is no"),
        ("include: [inc]\n", "4:11", "there is no folder 'inc'"),
        ("timeout_s: -1\n", "4:12", "greater than 0"),
        ("parameters: {A: []}\n", "1:1", "an empty list"),
        ("parameters: {A: [1, 2]}\nvariants: {x: {A: 1}}\n", "1:1", "keep one of them"),
        ("clock: {sinal: clk}\n", "4:9", "did you mean 'signal'?"),
        ("clock: [{signal: a}, {signal: b, mhz: 0}]\n", "4:39", "greater than 0"),
        ("target: {constraints: a.pcf}\n", "4:23", "there is no file 'a.pcf'"),
        ("lint: {waivers: [{reason: x}]}\n", "4:18", "would waive all"),
        ("parameters: {'1A': 2}\n", "4:14", "not a Verilog name"),
        ("seeded: [test_at]\n", "4:10", "did you mean 'test_it'?"),
        ("simulators: [vcs]\n", "4:14", "icarus"),
    ],
)
def test_a_mistake_is_said_at_its_place(
    make_core: MakeCore, more: str, place: str, words: str
) -> None:
    with pytest.raises(InventoryError) as error:
        read_core(make_core(GOOD + more))
    assert f"core.yaml:{place}: " in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize("clock", [{"signal": "a"}, [{"signal": "a"}, {"signal": "b"}]])
def test_editors_are_told_of_one_clock_and_of_several(clock: object) -> None:
    core = {"description": "x", "top": "x", "sources": ["x.v"], "clock": clock}
    jsonschema.validate(core, json_schema())


def test_sources_that_are_not_there(make_core: MakeCore) -> None:
    with pytest.raises(InventoryError, match=r"core.yaml:3:11: there is no file 'rtl/none\*.v'"):
        read_core(make_core(GOOD.replace("wire.v", "none*.v")))


def test_a_test_that_is_not_python_is_named_with_its_line(make_core: MakeCore) -> None:
    with pytest.raises(InventoryError, match=r"test_wire.py:2: not Python"):
        read_core(make_core(test="import os\ndef (:\n"))


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("ABCD"),
        st.one_of(st.integers(), st.lists(st.text(max_size=3) | st.integers(), min_size=1)),
    )
)
def test_each_combination_is_a_variant_with_a_name_of_its_own(
    parameters: dict[str, int | list[int | str]],
) -> None:
    found = variants_of(parameters, {})
    expected = 1
    for one in parameters.values():
        expected *= len(dict.fromkeys(one)) if isinstance(one, list) else 1
    assert len(found) == expected
    assert len({one.name for one in found}) == expected
    assert all(set(one.parameters) == set(parameters) for one in found)
    assert not any(set(one.name) & set(":@/ '\"$") for one in found)


def test_named_variants_lie_over_the_parameters() -> None:
    found = variants_of({"INIT": 1, "W": 8}, {"a": {"W": 16}, "b": {}})
    assert [(one.name, dict(one.parameters)) for one in found] == [
        ("a", {"INIT": 1, "W": 16}),
        ("b", {"INIT": 1, "W": 8}),
    ]


def test_tests_that_draw_nothing_are_told_from_those_that_do(make_core: MakeCore) -> None:
    two = (
        "import cocotb\n\n\n@cocotb.test()\nasync def test_it(dut):\n    pass\n\n\n"
        "@cocotb.test()\nasync def test_more(dut):\n    pass\n"
    )
    core = read_core(make_core(GOOD + "seeded: [test_more]\n", test=two))
    assert {one.name: one.seeded for one in core.tests} == {"test_it": False, "test_more": True}
    assert all(one.seeded for one in read_core(make_core(name="all", test=two)).tests)


CORES = sorted((Path(__file__).parents[3] / "fpga").glob("*/core.yaml"))


@pytest.mark.parametrize("path", CORES, ids=lambda path: path.parent.name)
def test_what_is_kept_of_a_file_gives_the_same_core(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = read_core(path)
    monkeypatch.setattr("labctl.fpga.readers.core_file._check", None)  # it is not asked again
    assert read_core(path) == first


def test_what_a_kept_file_names_is_looked_for_again(
    make_core: MakeCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = make_core()
    read_core(path)
    (path.parent / "rtl/wire.v").unlink()
    with pytest.raises(InventoryError, match="there is no file"):
        read_core(path)
