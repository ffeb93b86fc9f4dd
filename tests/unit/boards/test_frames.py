"""An answer that carries a checksum is right or is none, whatever the line did to it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from labctl.boards.cksum import cksum
from labctl.boards.dialects.base import Marks
from labctl.boards.frame import Frame

MARKS = Marks("tabc7")
NOISE = st.sampled_from(
    [b"[   12.345678] usb 1-1: new device => # \r\n", b"<6>[    1.234567][    T1] up\r\n"]
)
# Output that may look like kernel messages, like marks, like prompts.
BODY = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [b"[    2.345678] dmesg says\n", b"\n", b"\r\n", b"@Btabc7\n", b"box:~# ", b"@Etabc7 0"]
        ),
    ),
    max_size=8,
).map(b"".join)


def wire(body: bytes, code: int = 0) -> bytes:
    crc = cksum(body) if body else 0
    text = b"@Btabc7\n" + body + b"\n@Etabc7 %d  %d %d %d\n" % (code, crc, len(body), code)
    return text.replace(b"\n", b"\r\n")


def feed(data: bytes, cuts: list[int]) -> Frame:
    frame = Frame(MARKS, saved=True, live=None, limit=1 << 20, own_newline=True)
    last = 0
    for cut in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        if frame.answer is None:
            frame.feed(data[last:cut])
        last = cut
    return frame


@given(BODY, st.integers(0, 255), st.lists(st.integers(0, 9999), max_size=6))
def test_a_clear_line_gives_the_answer(body: bytes, code: int, cuts: list[int]) -> None:
    answer = feed(wire(body, code), cuts).answer
    assert answer is not None
    assert (answer.body, answer.status, answer.checked) == (body, code, True)
    assert answer.ran == "tabc7"


@given(
    BODY,
    st.integers(0, 255),
    st.lists(st.tuples(st.integers(0, 9999), NOISE), min_size=1, max_size=4),
    st.lists(st.integers(0, 9999), max_size=6),
)
def test_noise_anywhere_never_changes_an_answer(
    body: bytes, code: int, noise: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = wire(body, code)
    for at, line in sorted(((at % len(data), line) for at, line in noise), reverse=True):
        data = data[:at] + line + data[at:]
    answer = feed(data, cuts).answer
    if answer is not None and answer.checked:
        assert (answer.body, answer.status) == (body, code)


@given(
    st.text("ab \n", max_size=80),
    st.integers(0, 255),
    st.lists(st.integers(0, 9999), min_size=1, max_size=5),
)
def test_lost_bytes_never_change_an_answer(text: str, code: int, lost: list[int]) -> None:
    body = text.encode()
    data = bytearray(wire(body, code))
    for at in lost:
        del data[at % len(data)]
    answer = feed(bytes(data), []).answer
    if answer is not None and answer.checked:
        # The exit code stands there twice; the same digit lost in both is not seen.
        twice = bytes(data).count(b" %d" % answer.status) >= 2
        assert answer.body == body
        assert answer.status == code or (len(lost) > 1 and twice)


def test_what_looks_like_noise_is_kept_where_the_checksum_says_so() -> None:
    body = b"".join(b"[    2.34567%d] line %d\n" % (n, n) for n in range(6))
    data = wire(body)
    at = data.index(b"line 3")
    noise = b"[   99.000001] eth0: up\r\n"
    frame = feed(data[:at] + noise + data[at:], [])
    assert frame.answer is not None
    assert (frame.answer.body, frame.answer.checked) == (body, True)
    assert frame.noise == [noise.rstrip()]
