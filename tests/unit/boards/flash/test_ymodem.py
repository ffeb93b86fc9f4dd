"""The sending side of YMODEM-1K, against a receiver and a line that errs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ymodem_wire import Fault, Receiver, Wire

from labctl.boards.flash.ymodem import (
    CancelledError,
    ReceiverGoneError,
    Sender,
    TransferError,
    frame,
    line_bytes,
)


def _send(data: bytes, wire: Wire) -> Sender:
    sender = Sender(wire, "b1", clock=wire.clock)
    sender.send(data, "fw.bin")
    return sender


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 1023, 1024, 1025, 300_000])
def test_what_arrives_is_what_was_sent(size: int) -> None:
    receiver = Receiver()
    data = bytes(at * 7 & 0xFF for at in range(size))
    sender = _send(data, Wire(receiver))
    assert receiver.done
    assert (receiver.name, receiver.size, receiver.content) == ("fw.bin", size, data)
    assert sender.report.resent == 0


def test_a_receiver_that_was_reset_is_given_up_at_once() -> None:
    """Its banner comes in pieces, and our bytes meet no receiver any more."""

    class Resets(Receiver):
        banner = iter((b"\r\n\r\nU-B", b"oot 2023.01 (Jan", b" 01 2023)\r\n", b"=> "))

        def feed(self, data: bytes) -> bytes:
            return super().feed(data) if len(self.content) < 3000 else self.timeout()

        def timeout(self) -> bytes:
            return next(self.banner, b"")

    wire = Wire(Resets())
    sender = Sender(wire, "b1", clock=wire.clock, gone=[re.compile(rb"(?m)^U-Boot \d+")])
    with pytest.raises(ReceiverGoneError, match="b1: it was reset"):
        sender.send(bytes(10_000), "fw.bin")
    # After one wait for the answer to a block, not ten.
    assert wire.clock() < 60
    assert sender.report.resent <= 2


def test_block_numbers_wrap_after_255() -> None:
    assert frame(257, b"x")[1:3] == b"\x01\xfe"


def test_a_frame_is_as_the_reference_says() -> None:
    # "XMODEM/YMODEM Protocol Reference", section 7.3: CRC-16 of polynomial 0x1021, high byte first.
    block = frame(1, b"123456789".ljust(128, b"\x1a"))
    assert block[:3] == b"\x01\x01\xfe"
    assert len(block) == 133
    assert len(frame(2, bytes(1024))) == 1029
    assert frame(1, b"")[3:131] == b"\x1a" * 128


def test_its_cost_on_the_line_is_what_goes_over_it() -> None:
    for size in (100, 1024, 5000, 100_000):
        receiver = Receiver()
        wire = Wire(receiver)
        sender = _send(b"x" * size, wire)
        # The receiver here refuses the first EOT, as some do; that is two bytes more.
        assert abs(sender.report.sent + wire.offset - line_bytes(size)) <= 4


def _fault(kind: str, places: set[int]) -> Fault:
    def change(at: int, value: int) -> bytes:
        if at not in places:
            return bytes([value])
        return {"flip": bytes([value ^ 0x10]), "lose": b"", "double": bytes([value, value])}[kind]

    return change


@settings(max_examples=300, deadline=None)
@given(
    data=st.binary(max_size=3000),
    kind=st.sampled_from(["flip", "lose", "double"]),
    outward=st.sets(st.integers(0, 4000), max_size=3),
    inward=st.sets(st.integers(0, 12), max_size=2),
)
def test_a_line_that_errs_delays_and_never_changes_it(
    data: bytes, kind: str, outward: set[int], inward: set[int]
) -> None:
    receiver = Receiver()
    wire = Wire(receiver, _fault(kind, outward), _fault(kind, inward))
    try:
        _send(data, wire)
    except TransferError:
        # It may give up, and says so; what it must not do is say that it was taken when it was not.
        return
    assert receiver.content == data


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 3300), kind=st.sampled_from(["flip", "lose", "double"]))
def test_one_wrong_byte_in_any_block_is_overcome(place: int, kind: str) -> None:
    receiver = Receiver()
    data = bytes(at * 31 & 0xFF for at in range(3000))
    _send(data, Wire(receiver, _fault(kind, {place})))
    assert receiver.content == data


def test_a_receiver_that_is_not_there() -> None:
    wire = Wire(Receiver(), inward=lambda at, value: b"")
    with pytest.raises(TransferError, match="does not ask for a file"):
        _send(b"x", wire)


def test_a_receiver_that_cancels() -> None:
    class Tired(Receiver):
        def feed(self, data: bytes) -> bytes:
            return b"\x18\x18"

    with pytest.raises(CancelledError):
        _send(b"x", Wire(Tired()))


def test_words_on_the_line_between_answers_change_nothing() -> None:
    """A kernel, or a person, says something: no ACK is in it, and no C counts where none can be."""
    said = iter([b"[  1.0] eth0: link up\r\n"] * 1000)

    def inward(at: int, value: int) -> bytes:
        return next(said) + bytes([value]) if at > 2 else bytes([value])

    receiver = Receiver()
    data = b"y" * 5000
    _send(data, Wire(receiver, inward=inward))
    assert receiver.content == data
