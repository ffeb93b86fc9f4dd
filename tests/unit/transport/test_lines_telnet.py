"""Telnet's framing: any bytes, in pieces of any size."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from labctl.transport.lines.telnet import (
    DO,
    IAC,
    SB,
    SE,
    WILL,
    Command,
    Decoder,
    escape,
    negotiate,
    subnegotiate,
)

# Bytes that mean something to Telnet, often.
DATA = st.lists(st.sampled_from([IAC, SB, SE, DO, WILL, 0, 13, 10, 65])).map(bytes) | st.binary()
COMMANDS = st.one_of(
    st.builds(Command, st.integers(251, 254), st.integers(0, 255)),
    st.builds(Command, st.just(SB), st.integers(0, 254), DATA),
    st.builds(Command, st.integers(241, 249)),
)


def encode(item: bytes | Command) -> bytes:
    if isinstance(item, bytes):
        return escape(item)
    if item.verb == SB:
        return subnegotiate(item.option, item.payload)
    if item.option >= 0:
        return negotiate(item.verb, item.option)
    return bytes([IAC, item.verb])


def decode(pieces: list[bytes]) -> tuple[bytes, list[Command]]:
    decoder = Decoder()
    data, commands = b"", []
    for piece in pieces:
        some, more = decoder.feed(piece)
        data += some
        commands += more
    return data, commands


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(raw), *(place % (len(raw) + 1) for place in places)})
    return [raw[a:b] for a, b in itertools.pairwise(edges)]


@given(st.lists(DATA | COMMANDS), st.lists(st.integers(0, 10_000)))
def test_what_is_encoded_is_decoded_in_any_pieces(
    items: list[bytes | Command], places: list[int]
) -> None:
    raw = b"".join(map(encode, items))
    data, commands = decode(cut(raw, places))
    assert data == b"".join(item for item in items if isinstance(item, bytes))
    assert commands == [item for item in items if isinstance(item, Command)]


@given(st.binary() | DATA, st.lists(st.integers(0, 10_000)))
def test_no_stream_breaks_it_and_pieces_do_not_matter(raw: bytes, places: list[int]) -> None:
    assert decode(cut(raw, places)) == decode([raw])


def test_an_endless_subnegotiation_is_dropped_and_the_rest_lives() -> None:
    decoder = Decoder()
    decoder.feed(bytes([IAC, SB, 44]))
    for _ in range(100):
        assert decoder.feed(b"x" * 100)[1] == []
    data, _ = decoder.feed(b"board")
    assert data.endswith(b"board")
    assert len(data) < 10_000


def test_a_subnegotiation_that_lost_its_end_does_not_swallow_what_follows() -> None:
    raw = bytes([IAC, SB, 44, 1, IAC, WILL, 3]) + b"login:"
    assert decode([raw]) == (b"login:", [Command(SB, 44, b"\1"), Command(WILL, 3)])
