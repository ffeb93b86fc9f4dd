"""What can be set on a scripted board, and what its U-Boot understands."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.errors import UsageError
from labctl.vlab.scripted.hush import UnfinishedError, expand, parse
from labctl.vlab.scripted.memory import BASE, SIZE, AbortError, Memory
from labctl.vlab.scripted.settings import Settings, from_words, split_faults
from labctl.vlab.scripted.uboot_commands import Commands, Wire

# -- settings -----------------------------------------------------------------------------------


def test_words_become_values_of_the_right_type() -> None:
    words = ["noise=0.005", "unplug", "hang=true", "password=123", "reset_after=7", "drain=3"]
    assert from_words(words) == {
        "noise": 0.005, "unplug": True, "hang": True, "password": "123", "reset_after": 7,
        "drain": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("nois=0.1", "did you mean noise"),
        ("noise=2", "a share, 0 to 1"),
        ("noise=nan", "a share, 0 to 1"),
        ("noise", "a share, 0 to 1"),
        ("fifo=0", "a whole number, 1 or more"),
        ("hang=1", "true or false"),
        ("shell=zsh", "busybox or dash or bash"),
        ("flood=words", "line or utf8 or escapes"),
        ("reset_after=-1", "a whole number, 0 or more"),
        ("x" * 40, "it has: baud"),
    ],
)
def test_what_does_not_fit_is_refused_and_says_what_would(word: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        from_words([word])


def test_a_mistake_anywhere_changes_nothing() -> None:
    with pytest.raises(UsageError):
        split_faults({"noise": 0.1, "panic": "yes"})
    lasting, actions = split_faults({"noise": 0.1, "panic": True})
    assert (Settings().changed(lasting).noise, actions.panic) == (0.1, True)


@given(st.dictionaries(st.text(max_size=12), st.integers() | st.text() | st.booleans()))
def test_any_document_is_taken_or_refused(values: dict[str, object]) -> None:
    try:
        lasting, _ = split_faults(values)
    except UsageError:
        return
    Settings().changed(lasting)


# -- U-Boot -------------------------------------------------------------------------------------


class Console:
    """Commands with what they print."""

    def __init__(self, folder: Path) -> None:
        self.said = ""
        self.left: list[str] = []
        self.commands = Commands(
            self._say, folder / "env", {"a": "1"},
            lambda: self.left.append("reset"), lambda: self.left.append("linux"),
            Wire(115200, lambda data: None, lambda baud: None),
        )  # fmt: skip

    def _say(self, text: str) -> None:
        self.said += text

    def run(self, line: str) -> str:
        self.said = ""
        list(self.commands.run(line))
        return self.said


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(tmp_path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("echo a  b 'c  d' \"e $a\"", "a b c  d e 1\n"),
        ("echo ${a}; echo $?", "1\n0\n"),
        ("false; echo $?", "1\n"),
        ("false && echo no; echo yes", "yes\n"),
        ("false || echo yes", "yes\n"),
        ("true # echo no", ""),
        ("nosuch", "Unknown command 'nosuch' - try 'help'\n"),
        ("printenv nosuch", '## Error: "nosuch" not defined\n'),
        ("setenv b 'echo x'; run b", "x\n"),
        ("setenv a; printenv a", '## Error: "a" not defined\n'),
        ("x=3; echo $x", "3\n"),
        ("mw.b 40000000 61 4; md.b 40000000 4",
         "40000000: 61 61 61 61                                      aaaa\n"),
    ],
)  # fmt: skip
def test_commands_answer_as_the_real_ones(console: Console, line: str, said: str) -> None:
    assert console.run(line) == said


def test_crc32_is_that_of_the_memory(console: Console) -> None:
    crc = zlib.crc32(bytes([0x5A]) * 0x1000)
    said = console.run("mw.b 0x40000000 5a 1000; crc32 0x40000000 1000")
    assert said == f"crc32 for 40000000 ... 40000fff ==> {crc:08x}\n"


def test_the_environment_is_kept_only_where_it_is_saved(tmp_path: Path) -> None:
    first = Console(tmp_path)
    first.run("setenv colour blue")
    assert "colour" not in Console(tmp_path).commands.env
    first.run("saveenv")
    assert Console(tmp_path).commands.env["colour"] == "blue"


def test_reset_and_boot_leave(console: Console) -> None:
    console.run("reset; echo no")
    assert (console.left, console.commands.left) == (["reset"], True)


def test_an_open_quote_asks_for_more() -> None:
    with pytest.raises(UnfinishedError):
        parse("echo 'a")


@given(st.text(alphabet="a $'\"\\;&|#{}?\n=", max_size=40))
def test_any_line_is_parsed_or_asks_for_more(text: str) -> None:
    try:
        commands = parse(text)
    except UnfinishedError:
        return
    for command in commands:
        expand(command.words, lambda _: "v w")


# -- memory -------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 20_000), st.binary(max_size=9000)), max_size=6))
def test_memory_holds_what_was_written(writes: list[tuple[int, bytes]]) -> None:
    memory, model = Memory(), bytearray(32768)
    for at, data in writes:
        memory.write(BASE + at, data)
        model[at : at + len(data)] = data
    assert memory.read(BASE, len(model)) == model
    assert memory.crc32(BASE, len(model)) == zlib.crc32(model)


@pytest.mark.parametrize("address", [0, BASE - 1, BASE + SIZE, BASE + SIZE - 3])
def test_outside_there_is_nothing(address: int) -> None:
    with pytest.raises(AbortError):
        Memory().read(address, 4)
