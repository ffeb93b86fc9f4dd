"""Commands that could upset the conversation itself: each is right, or an honest error."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ptychannel import KernelNoise, Lossy, PtyChannel, drain, program

from labctl.boards.dialects.posix_shell import PosixShell
from labctl.boards.session import (
    BoardResetError,
    CommandTimeoutError,
    DamagedError,
    InterruptedCommandError,
    Session,
)
from labctl.boards.signs import BoardPanicError, Signs
from labctl.errors import LabctlError

SHELLS = {"dash": "dash -i", "bash": "bash --norc -i", "busybox": "busybox sh -i"}
SIGNS = Signs(
    shell_prompt=re.compile(rb"box:\S* ?[#$] "),
    panic=(re.compile(rb"Kernel panic - not syncing"),),
    rom=(re.compile(rb"(?m)^U-Boot SPL"),),
)


class InterruptedByTestError(Exception):
    """What a test throws into the middle of a command."""


@pytest.fixture(params=sorted(SHELLS))
def console(request: pytest.FixtureRequest) -> Iterator[PtyChannel]:
    """A console whose shell is started again when it ends, as init does."""
    shell = SHELLS[request.param]
    if shutil.which(shell.split()[0]) is None:
        pytest.skip(f"{shell.split()[0]} is not installed")
    with program(["sh", "-c", f"while :; do {shell}; done"]) as channel:
        yield channel


def session(channel: PtyChannel) -> Session:
    return Session(channel, PosixShell(), SIGNS, "box")


def test_a_command_that_returns_does_not_end_the_shell(console: PtyChannel) -> None:
    talk = session(console)
    talk.run("kept=1", timeout=20)
    assert talk.run("return 5", timeout=20).exit_code in (5, 2)  # bash: not in a function
    assert talk.run("echo $kept", timeout=20).output == b"1\n"


def test_an_error_that_ends_a_subshell_ends_that_alone(console: PtyChannel) -> None:
    talk = session(console)
    for command in ("( : >/no/dir/x ) 2>/dev/null", "(eval '(: >/no/dir/x)') 2>/dev/null"):
        done = talk.run(f"{command} || echo cannot", timeout=20)
        assert (done.output, done.exit_code) == (b"cannot\n", 0)


@pytest.mark.parametrize("command", ["exit 3", "echo bye; exit 3", "set -e; (exit 3); echo not"])
def test_a_command_that_ends_the_shell_has_an_answer(console: PtyChannel, command: str) -> None:
    talk = session(console)
    result = talk.run(command, timeout=20)
    assert result.exit_code == 3
    assert result.output.startswith(b"bye\n" if "bye" in command else b"")
    assert b"not" not in result.output
    assert talk.run("echo again", timeout=20).output == b"again\n"


def test_output_of_a_job_in_the_background_is_in_no_other_answer(console: PtyChannel) -> None:
    talk = session(console)
    talk.run("(sleep 0.3; echo LATE; echo done >/tmp/labctl-late.$$) & echo $$", timeout=20)
    waiting = "while [ ! -s /tmp/labctl-late.$$ ]; do sleep 0.1; done; rm /tmp/labctl-late.$$"
    result = talk.run(f"{waiting}; echo after", timeout=20)
    assert b"LATE\n" not in result.output.replace(b"echo LATE", b"")
    assert result.output.endswith(b"after\n")
    assert talk.run("echo next", timeout=20).output.endswith(b"next\n")


@pytest.mark.parametrize(
    "command",
    [
        "sleep 1.5; echo 'Kernel panic - not syncing: of old'",
        "echo 'U-Boot SPL 2023.01'; sleep 1.5",
    ],
)
def test_words_of_a_panic_in_a_command_are_no_panic(console: PtyChannel, command: str) -> None:
    assert session(console).run(command, timeout=20).exit_code == 0


def test_words_of_a_panic_in_slow_output_are_no_panic(console: PtyChannel) -> None:
    talk = session(console)
    talk.run("true", timeout=20)
    read = console.read

    # 5 kB/s, as a line of 57600 baud has.
    backlog = bytearray()

    def paced(timeout: float) -> bytes:
        if not backlog:
            backlog.extend(read(timeout))
        time.sleep(0.02)
        piece = bytes(backlog[:100])
        del backlog[:100]
        return piece

    console.read = paced  # type: ignore[method-assign]
    result = talk.run("echo 'Kernel panic - not syncing'; seq 1 2000", timeout=60)
    assert result.output.endswith(b"\n2000\n")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("[   12.345678] Kernel panic - not syncing: Fatal exception", BoardPanicError),
        ("U-Boot SPL 2023.01", BoardResetError),
    ],
)
def test_a_panic_ends_the_wait_at_once(
    console: PtyChannel, said: str, error: type[Exception]
) -> None:
    talk = session(console)
    talk.run("true", timeout=20)
    started = time.monotonic()
    with pytest.raises(error):
        talk.run(f"sleep 0.3; echo '{said}' >/dev/tty; sleep 60", timeout=50)
    assert time.monotonic() - started < 20


def test_after_an_exception_in_mid_command_the_next_answer_is_right(console: PtyChannel) -> None:
    talk = session(console)
    talk.run("true", timeout=20)
    read = console.read
    for count in range(2, 14, 3):
        left = count

        def bomb(timeout: float) -> bytes:
            nonlocal left
            left -= 1
            if left <= 0:
                raise InterruptedByTestError
            return read(min(timeout, 0.05))

        console.read = bomb  # type: ignore[method-assign]
        with pytest.raises(InterruptedByTestError):
            talk.run("sleep 30; echo old", timeout=40)
        console.read = read  # type: ignore[method-assign]
        assert talk.run(f"echo new {count}", timeout=20).output == b"new %d\n" % count


def test_a_stopped_command_has_no_exit_code_of_another(console: PtyChannel) -> None:
    talk = session(console)
    assert talk.run("(exit 9)", timeout=20).exit_code == 9
    try:
        result = talk.run("kill -INT $$; sleep 0.5; echo on", timeout=20)
    except (InterruptedCommandError, DamagedError):
        pass
    else:
        assert result.exit_code in (0, 130)
    assert talk.run("echo fine", timeout=20).output == b"fine\n"


def test_tracing_does_not_get_into_marks(console: PtyChannel) -> None:
    talk = session(console)
    talk.run("set -x", timeout=20)
    result = talk.run("echo traced", timeout=20)
    assert result.checked
    assert b"traced\n" in result.output
    talk.run("set +x", timeout=20)
    assert talk.run("echo plain", timeout=20).output == b"plain\n"


@pytest.mark.parametrize("mode", ["-echo"])
def test_a_terminal_in_a_bad_mode_is_put_right(console: PtyChannel, mode: str) -> None:
    talk = session(console)
    talk.run(f"stty {mode} </dev/tty", timeout=20)
    answers = []
    for timeout in (5, 20, 20):
        # The first may fail, since nothing is echoed; none may be wrong.
        with contextlib.suppress(LabctlError):
            answers.append(talk.run("echo back", timeout=timeout).output)
    assert answers
    assert set(answers) == {b"back\n"}


def test_nothing_of_the_users_is_removed(console: PtyChannel, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("mine")
    talk = session(console)
    # A command may use our names; what we remove must not depend on them.
    talk.run(f"_D={tmp_path}", timeout=20)
    for number in range(40):
        talk.run(f"echo {number}", timeout=20)
    talk.run("exit 0", timeout=20)
    assert kept.exists()


def test_saved_output_does_not_pile_up(console: PtyChannel) -> None:
    talk = session(console)
    for number in range(80):
        talk.run(f"echo {number}", timeout=20)
    files = talk.run('ls "$_D" | wc -l', timeout=20).output
    assert int(files) < 60


def test_saved_output_that_is_gone_is_an_error(console: PtyChannel) -> None:
    talk = session(console)
    with pytest.raises(DamagedError, match="exit code was 0"):
        talk.run("echo lost; rm -rf $_D", timeout=20)
    assert talk.run("echo again", timeout=20).output == b"again\n"


def test_an_unknown_prompt_does_not_matter() -> None:
    with program(["env", "PS1=strange> ", "dash", "-i"]) as channel:
        talk = session(channel)
        for number in range(5):
            assert talk.run(f"echo {number}", timeout=20).output == b"%d\n" % number


def test_half_a_line_that_somebody_typed_is_wiped(console: PtyChannel) -> None:
    talk = session(console)
    talk.run("true", timeout=20)
    os.write(console.master, b"rm -rf /tmp/nonexistent ")
    assert talk.run("echo clean", timeout=20).output == b"clean\n"


def test_the_script_is_taught_once() -> None:
    with program(["dash", "-i"]) as channel:
        drain(channel)
        first = session(channel).run("true", timeout=20)
        second = session(channel).run("true", timeout=20)
        third = session(channel)
        third.run("true", timeout=20)
        result = third.run("true", timeout=20)
    assert second.bytes_sent < first.bytes_sent / 3
    # One round trip, few bytes: 10 ms on a line of 115200 baud.
    assert result.bytes_sent + result.bytes_received <= 120


def test_a_script_that_arrived_damaged_is_not_run() -> None:
    with program(["dash", "-i"], inward=Lossy(0.01, seed=3)) as channel:
        drain(channel)
        talk = session(channel)
        right = 0
        for number in range(4):
            try:
                result = talk.run(f"echo {number}", timeout=20)
            except LabctlError:
                continue
            assert (result.output, result.exit_code) == (b"%d\n" % number, 0)
            right += 1
    assert right >= 1


def test_dmesg_through_noise_is_right() -> None:
    script = 'for n in $(seq 30); do echo "[   12.3456$((n + 10))] eth0: line $n"; done'
    wanted = "".join(f"[   12.3456{n + 10}] eth0: line {n}\n" for n in range(1, 31))
    with program(["dash", "-i"], outward=KernelNoise(0.002, seed=5)) as channel:
        result = session(channel).run(script, timeout=60)
    assert (result.output.decode(), result.checked) == (wanted, True)


def test_a_job_that_ended_is_in_no_later_answer(console: PtyChannel, tmp_path: Path) -> None:
    flag = tmp_path / "ended"
    talk = session(console)
    talk.run(f"(sleep 0.2; : > {flag}) &", timeout=20)
    # A command that waits for a child, and one after it: bash speaks of jobs in both.
    wait = f"while ! [ -e {flag} ]; do sleep 0.05; done; sleep 0.3; echo waited"
    assert talk.run(wait, timeout=20).output == b"waited\n"
    assert talk.run("sh -c 'echo on'", timeout=20).output == b"on\n"
    # Job control is as it was: the person's shell has it.
    assert talk.run("sleep 60 & jobs; kill $!", timeout=20).exit_code == 0
    console.write(b"case $- in *m*) echo 'con''trol';; esac\r")
    assert b"control\r\n" in drain(console)


def test_job_control_comes_back_after_an_interrupt(console: PtyChannel) -> None:
    talk = session(console)
    with pytest.raises(CommandTimeoutError):
        talk.run("sleep 60", timeout=1.5)
    assert talk.run("echo on", timeout=20).output == b"on\n"
    console.write(b"case $- in *m*) echo 'con''trol';; esac\r")
    assert b"control\r\n" in drain(console)


def test_a_program_that_repeats_what_it_is_given_is_known_at_once(
    console: PtyChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long would be waited for a shell: longer than the command may take.
    monkeypatch.setattr("labctl.boards.session._PREPARE_S", 3600.0)
    drain(console)
    console.write(b"cat\r")
    drain(console)
    assert session(console).run("echo on", timeout=60).output == b"on\n"


def test_a_shell_that_is_verbose_answers_all_the_same(console: PtyChannel) -> None:
    drain(console)
    console.write(b"set -v\r")
    drain(console)
    assert session(console).probe(5.0)
