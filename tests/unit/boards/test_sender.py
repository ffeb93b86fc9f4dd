"""What an echo must look like to count."""

import re

import pytest

from labctl.boards.sender import compare

PROMPT = re.compile(rb"box:\S* ?# ")

CASES = [
    # sent, came back, echoed, wrong
    (b"echo hi", b"echo hi", 7, False),
    (b"echo hi", b"echo", 4, False),
    (b"echo hi", b"ehco", 1, True),
    (b"echo hi", b"echo  hi", 5, True),
    (b"echo hi", b"old output\r\nbox:~# echo hi", 7, False),
    (b"echo hi", b"\x1b[?2004hbox:~# \x1b[6necho hi", 7, False),
    (b"echo hi", b"ec[   12.345678] usb 1-1: x\r\nho hi", 7, False),
    (b"echo hi", b"ec[   12.3456", 2, False),
    (b"echo [x]", b"echo [x]", 8, False),
    (b"echo [   12.345678] x", b"echo [   12.345678] x", 21, False),
    (b"abc", b"ab \rc", 3, False),  # readline at the end of a screen line
    (b"abc", b"abc\rc", 3, False),
]


@pytest.mark.parametrize(("sent", "got", "echoed", "wrong"), CASES)
def test_echo(sent: bytes, got: bytes, echoed: int, wrong: bool) -> None:
    assert compare(sent, got, prompt=PROMPT) == (echoed, wrong)


def test_blanks_need_not_come_back_where_lines_wrap() -> None:
    sent = b" a b  c "
    assert compare(sent, b"box:~#  a \r\nb c", strict=False, prompt=PROMPT) == (8, False)
    assert compare(sent, b"a x", strict=False, prompt=PROMPT)[1]
