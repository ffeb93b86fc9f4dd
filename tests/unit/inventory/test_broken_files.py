"""Every broken file in broken/ gives exactly the lines in its .expected file, in one run."""

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.errors import ExitCode
from labctl.inventory.compiling import compile_text
from labctl.inventory.diagnostics import InventoryError
from labctl.inventory.loader import load_inventory
from labctl.inventory.model import Inventory
from labctl.inventory.textfile import MAX_SIZE, decode
from labctl.inventory.yamlnodes import parse

FOLDER = Path(__file__).parent / "broken"
FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", FILES)
def test_expected_lines(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    with pytest.raises(InventoryError) as caught:
        load_inventory(Path(name))
    expected = (FOLDER / name).with_suffix(".expected").read_text()
    assert str(caught.value) + "\n" == expected
    assert caught.value.exit_code == ExitCode.USAGE


def test_no_secret_is_quoted() -> None:
    assert "hunter2" in (FOLDER / "secrets.yaml").read_text()
    assert "hunter2" not in (FOLDER / "secrets.expected").read_text()


def refused(path: Path) -> str:
    with pytest.raises(InventoryError) as caught:
        load_inventory(path)
    assert len(caught.value.diagnostics) == 1
    return caught.value.diagnostics[0].message


def test_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    with path.open("wb") as stream:
        stream.truncate(100_000_000)
    assert refused(path).startswith("100000000 bytes are too large")


def test_largest_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text("hosts: {a: {}}\n#" + "x" * (MAX_SIZE - 16))
    assert path.stat().st_size == MAX_SIZE
    assert list(load_inventory(path).hosts) == ["a"]


def test_named_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refused(tmp_path / "pipe")


def test_folder(tmp_path: Path) -> None:
    assert refused(tmp_path).startswith("this is a folder")


def test_file_that_went_away(tmp_path: Path) -> None:
    assert refused(tmp_path / "gone").startswith("cannot be opened: No such file")


def outcome(text: str) -> Inventory | InventoryError:
    try:
        return compile_text(text, Path("inventory.yaml")).inventory
    except InventoryError as error:
        assert error.diagnostics
        for one in error.diagnostics:
            assert one.line >= 1
            assert one.column >= 1
        assert len(str(error).splitlines()) == len(error.diagnostics)
        return error


@settings(max_examples=300, deadline=2000)
@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    try:
        text = decode(raw, "inventory.yaml", what="an inventory")
    except InventoryError:
        return
    outcome(text)


# Pieces that a YAML parser stumbles over, and words that our schema knows.
PIECES = st.sampled_from(
    [
        *"{}[],:-?&*!|>'\"%@`#~ \n\t",
        "<<: ",
        "&a ",
        "*a",
        "- ",
        "\n  ",
        "\n    ",
        ": ",
        "!!str ",
        "hosts:",
        "groups:",
        "boards:",
        "fpga:",
        "defaults:",
        "vars:",
        "port: ",
        "user: ",
        "tags: ",
        "a",
        "b",
        "1",
        "0x1",
        "1e9",
        "true",
        "null",
        "---\n",
        "...\n",
        "password: ",
        "parents: [a]",
        "groups: [a]",
        "proxy_jump: b",
        "virtual: box",
        "'\\ud800'",
        '"\\UFFFFFFFF"',
        "9" * 5000,
    ]
)


@settings(max_examples=500, deadline=2000)
@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_pieces_of_yaml(text: str) -> None:
    outcome(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "hosts",
                    "groups",
                    "boards",
                    "fpga",
                    "defaults",
                    "a",
                    "b",
                    "user",
                    "port",
                    "tags",
                    "parents",
                    "proxy_jump",
                    "vars",
                    "virtual",
                    "host_keys",
                    "model",
                    "path",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=2000)
@given(st.dictionaries(st.sampled_from(["hosts", "groups", "boards", "fpga"]), VALUES))
def test_any_shape(data: dict[str, object]) -> None:
    outcome(yaml.safe_dump(data, allow_unicode=True))


@settings(max_examples=200, deadline=2000)
@given(st.lists(PIECES, max_size=30).map("".join))
def test_parser_without_libyaml(text: str) -> None:
    """Where PyYAML has no libyaml, the parser in Python gives a tree or mistakes as well."""
    root, found = parse(text, loader=yaml.SafeLoader)
    if root is None and not found:  # nothing but comments, also for libyaml
        assert parse(text) == (None, [])


@pytest.mark.parametrize(
    "text",
    [
        "[" * 500_000,
        "{a: " * 250_000,
        "- " * 500_000,
        "? " * 500_000,
        "a: &a [*a]\n" * 50_000,
        "hosts: {" + ", ".join(f"h{n}: {{x{n}: 1, port: x}}" for n in range(20_000)) + "}",
        "groups: {" + ", ".join(f"g{n}: {{parents: [g{n + 1}]}}" for n in range(15_000)) + "}",
        "".join(f"a{n}: &a{n} [*a{n - 1}]\n" if n else "a0: &a0 []\n" for n in range(30_000)),
        "hosts:\n" + "  a: {}\n" * 100_000,
        "&a " * 300_000,
        "'" * 900_001,
        "a: |\n" + " x\n" * 300_000,
    ],
    ids=[
        "brackets",
        "braces",
        "lists",
        "questions",
        "cycles",
        "mistakes",
        "chain",
        "alias chain",
        "duplicates",
        "anchors",
        "quotes",
        "block",
    ],
)
@pytest.mark.timeout(240)  # a second or two, on an idle machine; what grows too fast takes hours
def test_hostile_text_is_refused_before_it_hurts(text: str) -> None:
    assert isinstance(outcome(text), InventoryError)
