"""Running a script against a channel that plays a board."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.boards.expect.dialogue import Dialogue, Outcome, StepReport
from labctl.boards.expect.nearest import nearest_miss
from labctl.boards.expect.script import parse_script
from labctl.boards.expect.spawn import TIMEOUT, LineSpawn, control
from labctl.boards.expect.words import compile_pattern
from labctl.boards.owner.protocol import LeaseLostError
from labctl.boards.session import Result
from labctl.errors import UsageError

PANIC = re.compile(rb"(?m)^\r?Kernel panic - not syncing")


class Board:
    """Says what it is told to, and answers what is typed.

    Args:
        says: What comes by itself.
        answers: What a typed text brings.
    """

    def __init__(self, *says: bytes | Exception, answers: dict[bytes, bytes] | None = None) -> None:
        self.says = list(says)
        self.answers = answers or {}
        self.typed = b""
        self.breaks: list[float] = []
        self.offset = 0

    def read(self, timeout: float) -> bytes:
        if not self.says:
            time.sleep(min(timeout, 0.01))  # a channel waits; ours has nothing to wait for
            return b""
        said = self.says.pop(0)
        if isinstance(said, Exception):
            raise said
        self.offset += len(said)
        return said

    def write(self, data: bytes) -> None:
        self.typed += data
        for question, answer in self.answers.items():
            if self.typed.endswith(question):
                self.says.append(answer)

    def send_break(self, seconds: float) -> None:
        self.breaks.append(seconds)


def play(board: Board, steps: str, **more: Any) -> Outcome:
    def run(command: str, where: str | None, seconds: float) -> Result:
        board.typed += f"<{command}|{where}|{seconds:g}>".encode()
        return Result(b"v1.2\nok\n", 3 if command == "false" else 0, [], 0.0, 0, 0, True, 0)

    def switch(action: str) -> None:
        board.typed += f"<power {action}>".encode()

    head = more.pop("head", "timeout: 0.05")
    script = parse_script(f"{head}\nsteps:\n{steps}", "s.yaml")
    given: dict[str, Any] = {"panics": [PANIC], "run": run, "switch": switch, **more}
    return Dialogue(script, board, "uno", **given).run()


def test_a_dialogue_to_its_end() -> None:
    board = Board(
        b"U-Boot 2023.01\r\nHit any key to stop autoboot:  2 ",
        answers={b" ": b"\r\n=> ", b"printenv x\r": b"printenv x\r\nx=42\r\n=> "},
    )
    seen: list[StepReport] = []
    outcome = play(
        board,
        "  - expect: Hit any key\n  - send: ' '\n  - expect: '^=> '\n"
        "  - sendline: printenv x\n  - expect: '^x=(?P<x>.*)$'\n    capture: [x]\n"
        "  - sendline: echo ${x} $${x}\n  - control: c\n  - break: 0.5\n  - power: cycle\n",
        on_step=seen.append,
    )
    assert outcome.failed is None
    assert outcome.captures == {"x": "42"}
    assert board.typed == b" printenv x\recho 42 ${x}\r\x03<power cycle>"
    assert board.breaks == [0.5]
    assert [one.line for one in seen] == [3, 4, 5, 6, 7, 9, 10, 11, 12]
    assert seen[4].matched == "x=42"


def test_the_alternative_that_comes_decides() -> None:
    steps = (
        "  - expect:\n      - match: 'login: '\n        then: [{sendline: root}]\n"
        "      - match: '# '\n        then: [{fail: 'logged in already'}]\n"
    )
    board = Board(b"box login: ")
    outcome = play(board, steps)
    assert (outcome.failed, board.typed) == (None, b"root\r")
    assert [(one.alternative, one.action) for one in outcome.steps] == [
        (1, "expect"),
        (0, "sendline"),
    ]
    failed = play(Board(b"box:~# "), steps).failed
    assert failed is not None
    assert (failed.cause, failed.line) == ("logged in already", 7)


def test_the_first_in_the_stream_wins_not_the_first_in_the_list() -> None:
    board = Board(b"one two")
    outcome = play(board, "  - expect: [two, one]\n  - expect: two\n")
    assert [one.alternative for one in outcome.steps] == [2, 1]


def test_the_end_of_a_match_is_no_beginning_of_a_line() -> None:
    failed = play(
        Board(b"crc32 for 0 ==> 28e2da32\r\n"), "  - expect: '='\n  - expect: '^=> '\n"
    ).failed
    assert failed is not None
    assert failed.nearest == (
        "it came, but not at the beginning of a line: crc32 for 0 ==> 28e2da32"
    )
    assert (
        play(Board(b"a", b"\r\n", b"=", b"> "), "  - expect: a\n  - expect: '^=> '\n").failed
        is None
    )


def test_a_failure_says_what_was_expected_and_what_came() -> None:
    outcome = play(
        Board(b"starting\r\nWelcome to Debain 12\r\nbox Login: "),
        "  - expect: starting\n  - expect: 'Debian 12'\n    timeout: 0.1\n",
    )
    failed = outcome.failed
    assert failed is not None
    assert failed.cause == "'Debian 12' did not come within 0.1 s"
    assert failed.waited_s >= 0.1
    assert failed.expected == ("Debian 12",)
    assert failed.last_lines == ("starting", "Welcome to Debain 12", "box Login:")
    assert failed.nearest == "the nearest line is: Welcome to Debain 12"
    assert "  | box Login:" in failed.describe()
    assert len(outcome.steps) == 1


def test_silence_is_said() -> None:
    failed = play(Board(), "  - expect: x\n").failed
    assert failed is not None
    assert failed.describe().endswith("nothing came")


def test_a_panic_ends_it_at_once_and_is_shown() -> None:
    board = Board(b"booting\r\n", b"Kernel pa", b"nic - not syncing: x\r\n", b"CPU: 0\r\n")
    failed = play(board, "  - expect: 'login: '\n    timeout: 3600\n").failed
    assert failed is not None
    assert "the board panicked" in failed.cause
    assert "CPU: 0" in failed.cause


def test_fail_on_ends_it_at_once() -> None:
    board = Board(b"x\r\nBad Linux ARM64 Image magic!\r\n")
    failed = play(
        board, "  - expect: 'login: '\n    timeout: 3600\n", head="fail_on: ['^Bad Linux']"
    ).failed
    assert failed is not None
    assert failed.cause == "'^Bad Linux' of 'fail_on' came: Bad Linux ARM64 Image magic!"


def test_a_password_is_typed_and_never_shown() -> None:
    board = Board(answers={b"hunter2\r": b"\r\nno hunter2 here\r\n"})
    seen: list[StepReport] = []
    outcome = play(
        board,
        "  - secret: root\n  - expect: 'no (?P<w>\\S+)'\n    capture: [w]\n  - expect: hunter3\n",
        secrets={"root": "hunter2"},
        on_step=seen.append,
    )
    assert board.typed == b"hunter2\r"
    assert "hunter2" not in repr((outcome, seen))
    assert outcome.captures == {"w": "*****"}


def test_a_command_has_an_exit_code_and_an_output() -> None:
    board = Board()
    outcome = play(
        board,
        "  - run: version\n    in: linux\n    timeout: 7\n"
        "    match: '^v(?P<v>[0-9.]+)$'\n    capture: [v]\n"
        "  - run: 'false'\n    exit_code: 3\n  - run: 'false'\n",
    )
    assert board.typed == b"<version|linux|7><false|None|0.05><false|None|0.05>"
    assert outcome.captures == {"v": "1.2"}
    assert outcome.failed is not None
    assert outcome.failed.cause == "the command ended with 3, not 0"
    failed = play(Board(), "  - run: version\n    match: v9\n").failed
    assert failed is not None
    assert failed.cause == "its output has no 'v9'"


def test_a_variable_of_a_way_not_taken_is_a_failure() -> None:
    failed = play(
        Board(b"b"), "  - expect: [{match: '(?P<a>a)', capture: [a]}, b]\n  - send: ${a}\n"
    ).failed
    assert failed is not None
    assert failed.cause == "nothing was captured as 'a'"


def test_a_timeout_alone_is_for_all_that_follow() -> None:
    failed = play(Board(), "  - timeout: 0.02\n  - expect: x\n", head="timeout: 600").failed
    assert failed is not None
    assert failed.cause == "'x' did not come within 0.02 s"


def test_a_line_that_is_taken_is_no_failure_of_the_script() -> None:
    with pytest.raises(LeaseLostError):
        play(Board(LeaseLostError("taken by force")), "  - expect: x\n")


def test_typing_waits_for_the_echo_of_what_the_receiver_holds() -> None:
    class Slow(Board):
        """Has a receiver of four bytes, and empties it when it is asked for the echo."""

        def __init__(self) -> None:
            super().__init__()
            self.held = b""

        def write(self, data: bytes) -> None:
            self.held += data
            assert len(self.held) <= 4, "overrun"
            self.typed += data

        def read(self, timeout: float) -> bytes:
            echo, self.held = self.held, b""
            return echo

    board = Slow()
    spawn = LineSpawn(board, chunk=4)
    spawn.sendline("printenv bootcmd")
    assert spawn.wait_for([re.compile(rb"bootcmd\r")], 1) == 0
    assert board.typed == b"printenv bootcmd\r"


def test_pexpects_own_methods_work_on_it() -> None:
    board = Board(b"a=1\r\n", answers={b"\x03": b"^C\r\n=> "})
    spawn = LineSpawn(board, timeout=0.05)
    assert (spawn.delaybeforesend, spawn.delayafterread) == (None, None)
    spawn.expect(rb"a=(\d+)")
    assert spawn.match.group(1) == b"1"
    spawn.sendcontrol("c")
    assert spawn.expect_exact([b"x", b"=> "]) == 1
    with pytest.raises(TIMEOUT):
        spawn.expect(b"never")


def test_a_flood_without_a_match_does_not_grow() -> None:
    class Flood(Board):
        left = 64

        def read(self, timeout: float) -> bytes:
            self.left -= 1
            return b"x" * (1 << 18) if self.left > 0 else b"end\r\n"

    spawn = LineSpawn(Flood())
    assert spawn.wait_for([re.compile(rb"end")], 600) == 0
    assert len(spawn.before) <= 4 << 20
    assert len(spawn.history) <= 1 << 20


@settings(deadline=None)
@given(st.text(alphabet="ab\n.", max_size=60), st.integers(1, 20))
def test_cutting_the_stream_changes_nothing(text: str, size: int) -> None:
    data = text.encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    patterns = [re.compile(rb"(?m)^a"), re.compile(rb"b")]
    spawn = LineSpawn(Board(*pieces))
    at = 0
    # All matches one after the other, as a search that knows all of the text finds them.
    while found := [
        (match.start(), number)
        for number, one in enumerate(patterns)
        if (match := one.search(data, at))
    ]:
        start, wanted = min(found)
        assert spawn.wait_for(patterns, 5) == wanted
        assert spawn.before == data[at:start]
        at = start + 1
    with pytest.raises(TIMEOUT):
        spawn.wait_for(patterns, 0.0)


def test_a_value_is_not_cut_where_the_stream_was() -> None:
    pieces = [b"v=2", b"02", b"3.", b"01 ", b"w=7\r"]
    outcome = play(
        Board(*pieces),
        "  - expect: 'v=(?P<v>[0-9.]+)'\n    capture: [v]\n"
        "  - expect: '(?P<w>w=.*)$'\n    capture: [w]\n",
    )
    assert outcome.failed is not None  # the line has not ended
    assert outcome.captures == {"v": "2023.01"}
    outcome = play(
        Board(*pieces, b"\n=> "),
        "  - expect: 'v=(?P<v>[0-9.]+)'\n    capture: [v]\n"
        "  - expect: '(?P<w>w=.*)$'\n    capture: [w]\n  - expect: '^=> '\n",
    )
    assert outcome.failed is None
    assert outcome.captures == {"v": "2023.01", "w": "w=7"}


def test_where_a_line_has_begun_already_its_rest_is_no_line() -> None:
    assert play(Board(b"=> "), "  - expect: '^=> '\n", in_line=True).failed is not None
    assert play(Board(b"\r\n=> "), "  - expect: '^=> '\n", in_line=True).failed is None


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("a$", b"a", None),
        ("a$", b"a\r\nb", b"a"),
        ("a$", b"ab\r\n", None),
        (r"a\$", b"a$", b"a$"),
        ("a[$]", b"a$", b"a$"),
        ("[]$]+x", b"$]x", b"$]x"),
        (r"[^\]$]+$", b"ab\n", b"ab"),
        ("(a$|b)", b"a\r\r\n", b"a"),
    ],
)
def test_a_dollar_is_the_end_of_a_line_that_has_come(
    pattern: str, text: bytes, found: bytes | None
) -> None:
    match = compile_pattern(pattern).search(text)
    assert (match and match.group()) == found
    if found is None and text == b"a":
        assert compile_pattern(pattern, whole=True).search(text)


def test_control_characters() -> None:
    assert [control(char) for char in "cC[@?"] == [b"\x03", b"\x03", b"\x1b", b"\0", b"\x7f"]
    for char in ("é", "", "ab", "1"):
        with pytest.raises(UsageError):
            control(char)


NEAR: list[tuple[str, bytes, bytes, str | None]] = [
    ("^=> ", b"x => y", b"", "it came, but not at the beginning of a line: x => y"),
    ("login: $", b"box login: ", b"", "it came, but no line ended there ('$'): box login:"),
    ("Login:", b"box login: ", b"", "it came with other capitals: box login:"),
    (
        "login:",
        b"",
        b"box login: root\r\n",
        "it came before this step began to wait: box login: root",
    ),
    (
        "U-Boot 2024",
        b"\r\nU-Boot 2023.01 (Jan)\r\n",
        b"",
        "the nearest line is: U-Boot 2023.01 (Jan)",
    ),
    ("=> ", b"entirely other words\r\n", b"", None),
]


@pytest.mark.parametrize(("pattern", "seen", "before", "says"), NEAR)
def test_the_nearest_miss(pattern: str, seen: bytes, before: bytes, says: str | None) -> None:
    found = nearest_miss([pattern], before + seen, len(before))
    assert (found is None) if says is None else (found is not None and found.startswith(says)), (
        found
    )


@settings(deadline=None)
@given(
    st.binary(max_size=300), st.sampled_from(["^=> ", r"a\$", r"x\\$", "[a-z]+: $", "(?P<a>b)c"])
)
def test_the_nearest_miss_is_never_a_defect(seen: bytes, pattern: str) -> None:
    found = nearest_miss([pattern], seen)
    assert found is None or found.isprintable()
