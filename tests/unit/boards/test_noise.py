"""Kernel messages between any two bytes of other output."""

from hypothesis import given
from hypothesis import strategies as st

from labctl.boards.noise import NoiseSplitter, split

MESSAGES = st.sampled_from(
    [
        b"[    0.000000] Booting Linux",
        b"[12345.678901] usb 1-1: new device => #",
        b"<6>[   12.345678] eth0: up",
        b"[    1.234567][    T1] random: crng init done",
    ]
)
PLAIN = st.text(st.characters(codec="ascii", exclude_characters="[<\n"), max_size=60)


@given(
    text=st.lists(PLAIN, max_size=6),
    noise=st.lists(st.tuples(st.integers(0, 400), MESSAGES), max_size=6),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
)
def test_what_a_program_printed_is_restored(
    text: list[str], noise: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    printed = "\r\n".join(text).encode()
    wire = printed
    positions = sorted(((min(at, len(printed)), line) for at, line in noise), key=lambda n: -n[0])
    for at, line in positions:
        wire = wire[:at] + line + b"\r\n" + wire[at:]
    assert split(wire)[0] == printed
    splitter = NoiseSplitter()
    out, last = b"", 0
    for cut in [*sorted(min(cut, len(wire)) for cut in cuts), len(wire)]:
        out += splitter.feed(wire[last:cut])
        last = cut
    assert out + splitter.flush() == printed
    assert sorted(splitter.noise) == sorted(line for _, line in noise)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_nothing_but_messages_is_taken_out(data: bytes, cut: int) -> None:
    splitter = NoiseSplitter()
    out = splitter.feed(data[:cut]) + splitter.feed(data[cut:]) + splitter.flush()
    assert len(out) <= len(data)
    if b"\n" not in data:
        assert out == data


def test_a_message_without_an_end_is_given_back() -> None:
    splitter = NoiseSplitter()
    flood = b"[   12.345678] " + b"x" * 100_000
    assert len(splitter.feed(flood)) >= len(flood) - 4096
