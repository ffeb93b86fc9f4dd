"""Framed commands on a real U-Boot in QEMU."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ptychannel import PtyChannel, drain, program

from labctl.boards.dialects.posix_shell import PosixShell
from labctl.boards.dialects.uboot import UBootShell
from labctl.boards.session import Session
from labctl.boards.signs import Signs
from labctl.errors import UsageError

FIRMWARE = Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin")
QEMU = "qemu-system-aarch64"
SIGNS = Signs(uboot_prompt=re.compile(rb"=> "), rom=(re.compile(rb"(?m)^U-Boot \d"),))


@pytest.fixture(scope="module")
def console() -> Iterator[PtyChannel]:
    if shutil.which(QEMU) is None or not FIRMWARE.exists():
        pytest.skip("qemu-system-arm or u-boot-qemu is not installed")
    machine = ["-M", "virt", "-cpu", "cortex-a57", "-nographic", "-nic", "none"]
    command = [QEMU, *machine, "-bios", str(FIRMWARE)]
    with program(command) as channel:
        said = b""
        deadline = time.monotonic() + 60
        while b"autoboot" not in said:
            assert time.monotonic() < deadline, said
            said += channel.read(1)
        channel.write(b" ")
        drain(channel)
        yield channel


@pytest.fixture
def talk(console: PtyChannel) -> Session:
    return Session(console, UBootShell(), SIGNS, "board")


def test_it_is_known_from_a_shell(console: PtyChannel, talk: Session) -> None:
    assert talk.probe(5)
    assert not Session(console, PosixShell(), SIGNS, "board").probe(1)
    with program(["sh", "-i"]) as shell:
        assert not Session(shell, UBootShell(), SIGNS, "box").probe(1)


def test_its_prompt_in_output_is_output(talk: Session) -> None:
    for _ in range(100):
        result = talk.run("crc32 0x40000000 0x100", timeout=10)
        assert re.fullmatch(
            rb"crc32 for 40000000 \.\.\. 400000ff ==> [0-9a-f]{8}\s+", result.output
        )
        assert result.exit_code == 0
    assert talk.run('echo "=> "', timeout=10).output.strip() == b"=>"


CASES = [
    ("echo b # a comment", b"b", 0),
    ("echo b # it's a comment", b"b", 0),
    ("echo a#b", b"a#b", 0),
    ("echo a;", b"a", 0),
    ("echo a ; ;", b"a", 0),
    ("", b"", 0),
    ("false", b"", 1),
    ("false && echo no", b"", 1),
    ("nosuch", b"Unknown command 'nosuch' - try 'help'", 1),
    ("setenv word 'a\"b$c;d'; printenv word", b'word=a"b$c;d', 0),
    ("for i in 1 2; do echo $i; done", b"1 2", 0),
    ("echo \\'", b"'", 0),
]


@pytest.mark.parametrize(("command", "output", "code"), CASES, ids=[one[0] for one in CASES])
def test_output_and_exit_code(talk: Session, command: str, output: bytes, code: int) -> None:
    result = talk.run(command, timeout=10)
    assert (b" ".join(result.output.split()), result.exit_code) == (output, code)
    assert not result.checked


@pytest.mark.parametrize(
    "command", ["if true", "echo 'open", 'echo "open', "echo it's", "echo \\", "echo " + "x" * 600]
)
def test_a_command_that_is_not_whole_is_refused_and_spoils_nothing(
    talk: Session, command: str
) -> None:
    with pytest.raises(UsageError):
        talk.run(command, timeout=10)
    assert talk.run("echo next", timeout=10).output.split() == [b"next"]
