"""Prompts count at the beginning of a line and at the end of the output."""

import re

import pytest

from labctl.boards.signs import BoardPanicError, NotSeenError, Signs, Watcher, prompt_at_end

SIGNS = Signs(
    rom=(re.compile(rb"(?m)^\r?U-Boot 20\d\d"),),
    autoboot=re.compile(rb"Hit any key to stop autoboot"),
    uboot_prompt=re.compile(rb"=> "),
    login=re.compile(rb"\S+ login: "),
    password=re.compile(rb"Password: "),
    shell_prompt=re.compile(rb"root@\S+:\S* ?# "),
    panic=(re.compile(rb"(?m)^\r?(?:\[ *\d+\.\d+\] )?Kernel panic - not syncing"),),
)


class Script:
    """A channel that says what it is told."""

    offset = 0

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    def read(self, timeout: float) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def write(self, data: bytes) -> None:
        raise AssertionError

    def send_break(self, seconds: float) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"U-Boot 2023.01\r\n=> ", "uboot"),
        (b"crc32 for 40000000 ... 400000ff ==> 28e2da32", None),
        (b"crc32 ==> ", None),
        (b"Hit any key to stop autoboot:  2 \x08\x08\x08 1 ", "autoboot"),
        (b"\r\nbox login: ", "login"),
        (b"box login: root\r\nPassword: ", "password"),
        (b"root@box:/root# \x1b[6n", "shell"),
        (b"root[    2.848331] eth0: up\r\n@box:~# ", "shell"),
        (b"root@box:~# ls", None),
        (b"", None),
    ],
)
def test_prompt_at_end(text: bytes, name: str | None) -> None:
    assert prompt_at_end(text, SIGNS) == name


def test_a_prompt_inside_output_is_none() -> None:
    watcher = Watcher(Script(b"x ==> 1\r\n", b"a => b\r\n"), SIGNS, "uno")
    with pytest.raises(NotSeenError, match="it last said: a => b"):
        watcher.wait(SIGNS.prompts(), timeout_s=0.2)


def test_a_sign_in_two_pieces_is_seen() -> None:
    watcher = Watcher(Script(b"\r\nbo", b"x lo[    1.000000] x\r\ngin", b": "), SIGNS, "uno")
    assert watcher.wait(SIGNS.prompts(), timeout_s=1, at_end=True) == "login"


def test_a_panic_ends_every_wait_and_is_shown() -> None:
    watcher = Watcher(
        Script(
            b"[    9.1] x\r\n", b"[    9.123456] Kernel panic - not syncing: sysrq\r\n", b"trace"
        ),
        SIGNS,
        "uno",
    )
    with pytest.raises(BoardPanicError, match="not syncing: sysrq") as panic:
        watcher.wait(SIGNS.prompts(), timeout_s=1)
    assert b"trace" in panic.value.text
