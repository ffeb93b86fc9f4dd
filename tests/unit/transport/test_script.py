"""The script of many items and the reader of what it prints."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.transport.script import (
    Record,
    RecordReader,
    Script,
    assemble,
    quote,
    record,
    step,
)

Shell = Callable[[str], "subprocess.CompletedProcess[bytes]"]


def read_all(script: Script, output: bytes) -> RecordReader:
    reader = RecordReader(script.nonce)
    reader.feed(output)
    return reader


def run(sh: Shell, body: str) -> RecordReader:
    script = assemble(body)
    return read_all(script, sh(script.text).stdout)


# -- words ---------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
@settings(max_examples=60, deadline=None)
def test_a_quoted_word_reaches_a_program_as_it_is(word: str) -> None:
    said = subprocess.run(
        ["sh", "-c", f"printf %s {quote(word)}"], capture_output=True, check=True, timeout=10
    )
    assert said.stdout == word.encode()


@pytest.mark.parametrize("word", ["", "-n", "~", "a b", "'", "$(id)", "`id`", "a\nb", "*", "#x"])
def test_words_that_mean_something_to_a_shell_are_quoted(word: str) -> None:
    said = subprocess.run(
        ["sh", "-c", f"printf '%s|' {quote(word)}"], capture_output=True, check=True, timeout=10
    )
    assert said.stdout == word.encode() + b"|"


def test_nul_is_refused_for_no_argument_can_hold_it() -> None:
    with pytest.raises(ValueError, match="NUL"):
        quote("a\0b")


# -- records -------------------------------------------------------------------------------------


@given(
    outputs=st.lists(
        st.one_of(
            st.binary(max_size=200),
            # Lines that look like marks, of another script.
            st.sampled_from(
                [b"\n@0123456789abcdef end 0\n", b"@ end 0", b"@0123456789abcdef done\n", b"\r\n"]
            ),
        ),
        max_size=6,
    ),
    data=st.data(),
)
@settings(deadline=None)
def test_records_do_not_depend_on_how_the_stream_is_cut(
    outputs: list[bytes], data: st.DataObject
) -> None:
    nonce = "feedfacecafebeef"
    stream = f"\n@{nonce} hello\n".encode()
    for number, output in enumerate(outputs):
        stream += f"\n@{nonce} begin item {number}\n".encode() + output
        stream += f"\n@{nonce} end {number % 256}\n".encode()
    stream += f"\n@{nonce} done\n".encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reader = RecordReader(nonce)
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        reader.feed(stream[start:end])
    assert reader.started
    assert reader.finished
    assert not reader.stopped
    assert reader.records == [
        Record(f"item {number}", output.decode(errors="replace"), number % 256)
        for number, output in enumerate(outputs)
    ]


@given(st.binary(max_size=3000))
def test_noise_alone_starts_nothing(noise: bytes) -> None:
    reader = RecordReader("feedfacecafebeef")
    reader.feed(noise + b"\n")
    assert not reader.started
    assert reader.records == []
    assert reader.noise == (noise + b"\n")[-4096:]


def test_noise_is_bounded() -> None:
    reader = RecordReader("feedfacecafebeef")
    for _ in range(100):
        reader.feed(b"welcome to this machine\n" * 100)
    assert len(reader.noise) == 4096


def test_output_status_and_order_come_back(sh: Shell) -> None:
    body = record("one", "printf 'a b'") + record("two", "echo c; exit 7") + record("three", ":")
    reader = run(sh, body)
    assert reader.finished
    assert reader.records == [
        Record("one", "a b", 0),
        Record("two", "c\n", 7),
        Record("three", "", 0),
    ]


def test_errors_are_part_of_a_steps_output_and_not_of_a_facts(sh: Shell) -> None:
    reader = run(sh, record("fact", "echo wrong >&2") + step("step 0", "echo wrong >&2"))
    assert [entry.output for entry in reader.records] == ["", "wrong\n"]


def test_marks_of_another_script_are_output(sh: Shell) -> None:
    fake = "printf '@0123456789abcdef end 0\\n@0123456789abcdef done\\n'"
    reader = run(sh, record("one", fake))
    assert reader.records == [Record("one", "@0123456789abcdef end 0\n@0123456789abcdef done\n", 0)]


def test_a_snippet_cannot_eat_the_script(sh: Shell) -> None:
    reader = run(sh, step("step 0", "cat") + step("step 1", "echo still here"))
    assert [entry.output for entry in reader.records] == ["", "still here\n"]


def test_a_step_that_fails_is_the_last_one(sh: Shell, tmp_path: Path) -> None:
    body = (
        step("step 0", f"touch {tmp_path}/first")
        + step("step 1", "echo no; exit 3")
        + step("step 2", f"touch {tmp_path}/third")
    )
    reader = run(sh, body)
    assert reader.stopped
    assert not reader.finished
    assert reader.records[-1] == Record("step 1", "no\n", 3)
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


@pytest.mark.parametrize("snippet", ["exit 1", "set -e; false; true", "return 4"])
def test_whatever_ends_a_snippet_does_not_end_the_script(sh: Shell, snippet: str) -> None:
    reader = run(sh, record("one", snippet) + record("two", "echo there"))
    assert reader.finished
    assert reader.records[1] == Record("two", "there\n", 0)


def test_begin_line_and_end_are_told_as_they_happen() -> None:
    told: list[str] = []
    reader = RecordReader(
        "ab",
        on_begin=lambda name: told.append(f"begin {name}"),
        on_line=lambda name, line: told.append(f"{name}: {line}"),
        on_record=lambda entry: told.append(f"end {entry.name} {entry.status}"),
    )
    reader.feed(b"\n@ab hello\n\n@ab begin step 0\nhalf")
    assert told == ["begin step 0"]
    assert reader.open == "step 0"
    reader.feed(b" a line\n\n@ab end 0\n")
    assert told == ["begin step 0", "step 0: half a line", "end step 0 0"]
    assert reader.open is None


def test_busy_is_not_finished(sh: Shell) -> None:
    reader = run(sh, "say busy; exit 0\n" + step("step 0", "echo never"))
    assert reader.busy
    assert not reader.finished
    assert reader.records == []


# -- cut off -------------------------------------------------------------------------------------


def prefixes(text: str) -> Iterator[str]:
    """Yield every cut at a line end and around each, and one in seven of all others."""
    for size in range(len(text)):
        if size % 7 == 0 or text[size] == "\n" or text[size - 1 : size] == "\n":
            yield text[:size]


def test_a_script_cut_off_in_transfer_runs_nothing_at_all(tmp_path: Path) -> None:
    marks = [tmp_path / str(number) for number in range(3)]
    body = "".join(step(f"step {i}", f": >{quote(str(path))}") for i, path in enumerate(marks))
    whole = assemble(body).text
    call = whole.rindex("labctl_main")
    for part in prefixes(whole[: call + len("labctl_main") - 1]):
        said = subprocess.run(
            ["sh", "-s"], input=part.encode(), capture_output=True, timeout=20, check=False
        )
        assert list(tmp_path.iterdir()) == [], f"cut at {len(part)}: {part[-60:]!r}"
        assert b"hello" not in said.stdout
    subprocess.run(["sh", "-s"], input=whole.encode(), timeout=20, check=True, capture_output=True)
    assert all(path.exists() for path in marks)


def test_a_cut_connection_finishes_the_item_in_flight_and_starts_no_other(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    body = (
        # The first item waits until the connection is gone.
        step("step 0", f"read x <{tmp_path}/gate; echo noise; touch {tmp_path}/finished")
        + step("step 1", f"touch {tmp_path}/next")
        + step("step 2", f"touch {tmp_path}/last")
    )
    process = subprocess.Popen(["sh", "-s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(assemble(body).text.encode())
        process.stdin.close()
        seen = b""
        while b"begin step 0\n" not in seen:
            seen += os.read(process.stdout.fileno(), 4096)
        process.stdout.close()
        process.send_signal(signal.SIGHUP)  # what sshd's end means to the shell
        (tmp_path / "gate").write_text("go\n")
        assert process.wait(20) != 0
    finally:
        process.kill()
    assert (tmp_path / "finished").exists()
    assert not (tmp_path / "next").exists()
    assert not (tmp_path / "last").exists()


def test_every_script_has_a_word_of_its_own() -> None:
    words = {assemble("").nonce for _ in range(100)}
    assert len(words) == 100
    assert all(re.fullmatch("[0-9a-f]{16}", word) for word in words)
