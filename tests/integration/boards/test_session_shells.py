"""Framed commands on real shells, over wires that are clear, noisy, or lose bytes."""

from __future__ import annotations

import random
import re
import shutil
import time

import pytest
from ptychannel import FlipsOne, KernelNoise, Lossy, PtyChannel, drain, program

from labctl.boards.dialects.posix_shell import PosixShell
from labctl.boards.session import CommandTimeoutError, DamagedError, Session
from labctl.boards.signs import Signs
from labctl.errors import LabctlError

SHELLS = {
    "dash": ["dash", "-i"],
    "bash": ["bash", "--norc", "-i"],
    "busybox": ["busybox", "sh", "-i"],
}
SIGNS = Signs(
    shell_prompt=re.compile(rb"box:\S* ?[#$] "),
    panic=(re.compile(rb"Kernel panic - not syncing"),),
    rom=(re.compile(rb"U-Boot SPL"),),
)


@pytest.fixture(params=sorted(SHELLS))
def shell(request: pytest.FixtureRequest) -> list[str]:
    command = SHELLS[request.param]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return command


def session(channel: PtyChannel) -> Session:
    return Session(channel, PosixShell(), SIGNS, "box")


CASES = [
    ("true", b"", 0),
    ("false", b"", 1),
    ("echo hello", b"hello\n", 0),
    ("printf 'no newline'", b"no newline", 0),
    ("printf 'a\\r\\nb\\n\\n'", b"a\r\nb\n\n", 0),
    ("echo out; echo err >&2; exit_me() { return 7; }; exit_me", b"out\nerr\n", 7),
    ("echo '=> ' \"it's\" '# '", b"=>  it's # \n", 0),
    ("for i in 1 2 3\ndo echo $i\ndone", b"1\n2\n3\n", 0),
    ("printf '@Bx @Ex 0\\nbox:~# '", b"@Bx @Ex 0\nbox:~# ", 0),
    ("cat; echo end of input", b"end of input\n", 0),
    ("echo ümlaut", "ümlaut\n".encode(), 0),
    ("printf '\\377\\376\\000x'", b"\xff\xfe\0x", 0),
]


@pytest.mark.parametrize(("command", "output", "code"), CASES, ids=[case[0][:20] for case in CASES])
def test_output_and_exit_code(shell: list[str], command: str, output: bytes, code: int) -> None:
    with program(shell) as channel:
        result = session(channel).run(command, timeout=20)
    assert (result.output, result.exit_code, result.checked) == (output, code, True)
    assert result.noise == []


def test_the_shell_keeps_its_state(shell: list[str]) -> None:
    with program(shell) as channel:
        talk = session(channel)
        talk.run("cd /usr; export WORD='a b'", timeout=20)
        assert talk.run('pwd; echo "$WORD"', timeout=20).output == b"/usr\na b\n"
        talk.run("false", timeout=20)
        assert talk.run("echo $?", timeout=20).output == b"1\n"


def test_a_syntax_error_is_an_answer(shell: list[str]) -> None:
    with program(shell) as channel:
        talk = session(channel)
        result = talk.run("if true", timeout=20)
        assert result.exit_code == 2
        assert b"yntax error" in result.output
        assert talk.run("echo on", timeout=20).output == b"on\n"


def test_a_long_command_is_put_together(shell: list[str]) -> None:
    word = "".join(random.Random(1).choice("abc'\"$ %\\") for _ in range(5000))
    quoted = word.replace("'", "'\\''")
    with program(shell) as channel:
        result = session(channel).run(f"printf %s '{quoted}'", timeout=60)
    assert result.output == word.encode()


def test_a_shell_that_was_started_anew_is_prepared_again(shell: list[str]) -> None:
    with program(shell) as channel:
        talk = session(channel)
        assert talk.run("echo one", timeout=20).output == b"one\n"
        # It forgets our words, as after a reset that nobody saw.
        talk.send_line(f"exec env PS1='box:~# ' {' '.join(shell)}")
        drain(channel)
        talk._prepared = True
        assert talk.run("echo two", timeout=20).output == b"two\n"


def test_a_command_that_does_not_end_is_interrupted(shell: list[str]) -> None:
    with program(shell) as channel:
        talk = session(channel)
        with pytest.raises(CommandTimeoutError, match="--timeout"):
            talk.run("sleep 60", timeout=1.5)
        assert talk.run("echo alive", timeout=20).output == b"alive\n"


def test_live_output_comes_while_it_runs(shell: list[str]) -> None:
    seen: list[tuple[float, bytes]] = []
    with program(shell) as channel:
        talk = session(channel)
        result = talk.run(
            "echo first; sleep 0.7; echo second; false",
            timeout=20,
            live=lambda data: seen.append((time.monotonic(), data)),
        )
    assert b"".join(data for _, data in seen).rstrip(b"\n") == b"first\nsecond"
    assert seen[-1][0] - seen[0][0] > 0.3
    assert result.exit_code == 1


def test_sixty_commands_through_kernel_messages_are_sixty_right(shell: list[str]) -> None:
    noise = KernelNoise(0.005, seed=4)
    with program(shell, outward=noise) as channel:
        talk = session(channel)
        for number in range(60):
            result = talk.run(f"seq {number} {number + 30}; (exit {number})", timeout=60)
            wanted = "".join(f"{one}\n" for one in range(number, number + 31))
            assert (result.output.decode(), result.exit_code) == (wanted, number)
            assert set(result.noise) <= set(noise.lines)
    assert len(noise.lines) > 60


def test_output_that_looks_like_kernel_messages_is_output(shell: list[str]) -> None:
    script = 'for n in $(seq 40); do echo "[   12.3456$((n + 10))] eth0: line $n"; done'
    dmesg = "".join(f"[   12.3456{n + 10}] eth0: line {n}\n" for n in range(1, 41))
    with program(shell, outward=KernelNoise(0.0005, seed=1)) as channel:
        result = session(channel).run(script, timeout=60)
    assert result.output.decode() == dmesg
    assert result.checked


@pytest.mark.parametrize("seed", [2])
def test_lost_bytes_never_change_an_answer(shell: list[str], seed: int) -> None:
    right = 0
    with program(shell, inward=Lossy(0.002, seed), outward=Lossy(0.002, seed + 10)) as channel:
        talk = session(channel)
        for number in range(8):
            command = f"seq {number} {number + 40}; (exit {number})"
            try:
                result = talk.run(command, timeout=60)
            except LabctlError as error:
                assert "Error" in type(error).__name__
                continue
            wanted = "".join(f"{one}\n" for one in range(number, number + 41))
            assert (result.output.decode(), result.exit_code) == (wanted, number)
            right += 1
    assert right >= 4


def test_what_no_fetch_brings_whole_comes_in_parts(shell: list[str]) -> None:
    wire = FlipsOne(1000)
    with program(shell, inward=wire.inward, outward=wire.outward) as channel:
        result = session(channel).run("seq 600", timeout=60)
    assert result.output == b"".join(b"%d\n" % number for number in range(1, 601))
    assert result.checked
    assert result.fetches > 4


def test_a_flood_ends_in_an_error(shell: list[str]) -> None:
    with program(shell) as channel:
        talk = Session(channel, PosixShell(), SIGNS, "box", output_limit=1 << 20)
        with pytest.raises(DamagedError, match="longer than"):
            talk.run("head -c 3000000 /dev/zero | tr '\\0' x", timeout=60)
        assert talk.run("echo alive", timeout=30).output == b"alive\n"
