"""Words to hosts and boards."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.errors import UsageError
from labctl.inventory.model import Board, FpgaProject, Host, Inventory
from labctl.inventory.selection import select, select_any, select_boards

HOSTS = [
    Host("gpu1", tags=frozenset({"cuda"}), groups=("lab",)),
    Host("box2", tags=frozenset({"slow"}), groups=("demo", "lab")),
    Host("box1", groups=("demo",)),
    Host("gpu10", tags=frozenset({"cuda", "slow"})),
]
LAB = Inventory(
    Path("/lab/inventory.yaml"),
    {host.name: host for host in HOSTS},
    {"uno": Board("uno", "arduino-uno", tags=frozenset({"avr"}))},
    {"cores": FpgaProject("cores", Path("/fpga"))},
)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["all"], "gpu1 box2 box1 gpu10"),
        (["@all"], "gpu1 box2 box1 gpu10"),
        (["box1", "gpu1", "box1"], "gpu1 box1"),
        (["gpu*"], "gpu1 gpu10"),
        (["gpu?"], "gpu1"),
        (["[bg]*1"], "gpu1 box1"),
        (["@cuda"], "gpu1 gpu10"),
        (["@lab"], "gpu1 box2"),
        (["@s*"], "box2 gpu10"),
        (["@cuda", "!@slow"], "gpu1"),
        (["!gpu*"], "box2 box1"),
        (["!box1", "!@cuda"], "box2"),
        (["all", "!box*"], "gpu1 gpu10"),
        (["!box1", "box*"], "box2"),
        (["box1,gpu1", "!gpu1"], "box1"),
    ],
)
def test_words(words: list[str], expected: str) -> None:
    assert [host.name for host in select(LAB, words)] == expected.split()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bok1"], r"no host 'bok1'; did you mean 'box[12]'\?"),
        (["@cudo"], r"no tag or group '@cudo'; did you mean '@cuda'\?"),
        (["!nobody"], "no host 'nobody'"),
        (["x*"], r"no host 'x\*'"),
        (["all", "!all"], "no host is left of 'all !all'"),
        ([], "no host named"),
        ([""], "no host named"),
        (["!"], "no host ''"),
        (["@"], "no tag or group '@'"),
        (["uno"], "no host 'uno'"),
    ],
)
def test_nothing_found(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        select(LAB, words)


def test_boards_and_all_kinds() -> None:
    assert [board.name for board in select_boards(LAB, ["@avr"])] == ["uno"]
    assert [one.name for one in select_any(LAB, ["cores", "uno", "box1"])] == (
        ["box1", "uno", "cores"]
    )


WORDS = st.sampled_from(["all", "@all", "gpu*", "box1", "@cuda", "@demo", "*1*", "[!b]*", "uno"])


@given(wanted=st.lists(WORDS | st.text(max_size=6), max_size=4), not_wanted=st.lists(WORDS))
def test_any_words(wanted: list[str], not_wanted: list[str]) -> None:
    """Any words give hosts in order, each once, without those that are excluded; or UsageError."""
    words = [*wanted, *("!" + word for word in not_wanted)]
    try:
        names = [host.name for host in select(LAB, words)]
        out = [host.name for host in select(LAB, not_wanted)] if not_wanted else []
    except UsageError as error:
        assert len(str(error).splitlines()) == 1
        return
    assert names == [name for name in LAB.hosts if name in names]
    assert names
    assert not set(names) & set(out)
