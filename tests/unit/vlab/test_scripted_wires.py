"""The pure parts of the scripted board: pacing, damage, wrong rates, the receiver's FIFO."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.vlab.scripted import damage
from labctl.vlab.scripted.fifo import Delay, ReceiveFifo
from labctl.vlab.scripted.pacing import BATCH_S, Pacer
from labctl.vlab.scripted.payloads import flood
from labctl.vlab.scripted.resample import Resampler
from labctl.vlab.scripted.settings import FLOODS
from labctl.vlab.scripted.wire import Wire

RATES = st.sampled_from([1200, 9600, 57600, 115200, 921600, 1500000])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut ``data`` into pieces."""
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(bounds)]


# -- pacing -------------------------------------------------------------------------------------


@given(RATES, st.integers(1, 5000), st.lists(st.floats(0.0001, 0.1), max_size=200))
def test_no_byte_is_early_and_none_is_late_by_more_than_a_batch(
    rate: int, count: int, steps: list[float]
) -> None:
    pacer, now, sent = Pacer(rate), 100.0, 0
    pacer.begin(now)
    for step in [*steps, count * 10 / rate + 1]:
        now += step
        got, _, end = pacer.take(now, count - sent)
        sent += got
        assert sent * 10 / rate <= now - 100.0 + 1e-6
        assert end <= now + 1e-6 or not got
        due = min(count, math.floor((now - 100.0) * rate / 10))
        assert sent >= due - math.ceil(BATCH_S * rate / 10)
    assert sent == count


def test_a_transmitter_that_stood_still_does_not_hurry() -> None:
    pacer = Pacer(9600)
    pacer.begin(0.0)
    pacer.begin(1000.0)
    assert pacer.take(1000.02, 10**6)[0] == 19


def test_the_moment_that_is_due_has_something() -> None:
    wire = Wire()
    wire.set_rates(115200, 115200, 5.0)
    wire.put(b"x" * 1000, 5.0)
    got, moments = b"", 0
    while (due := wire.due()) is not None:
        data, _, _ = wire.take(due)
        assert data
        got += data
        moments += 1
    assert got == b"x" * 1000
    assert moments <= 1000 * 10 / 115200 / BATCH_S + 2


# -- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [damage.losing, damage.doubling, damage.flipping])
@given(data=st.binary(max_size=2000), places=st.lists(st.integers(0, 5000), max_size=9))
def test_damage_does_not_depend_on_how_the_stream_is_cut(
    kind: Callable[..., damage.Stage], data: bytes, places: list[int]
) -> None:
    whole = kind(0.05, damage.randoms(3, "x"))
    pieces = kind(0.05, damage.randoms(3, "x"))
    assert whole.apply(data) == b"".join(pieces.apply(one) for one in cut(data, places))
    assert whole.count == pieces.count


@pytest.mark.parametrize(
    ("kind", "length"), [(damage.losing, -1), (damage.doubling, 1), (damage.flipping, 0)]
)
def test_the_share_is_hit_and_nothing_else_is(
    kind: Callable[..., damage.Stage], length: int
) -> None:
    stage = kind(0.01, damage.randoms(1, "x"))
    data = bytes(100_000)
    out = stage.apply(data)
    assert 850 <= stage.count <= 1150
    assert len(out) == len(data) + length * stage.count
    if length == 0:
        changed = [one for one in out if one]
        assert len(changed) == stage.count
        assert all(one.bit_count() == 1 for one in changed)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_none_and_all(share: float) -> None:
    stage = damage.losing(share, damage.randoms(1, "x"))
    assert len(stage.apply(bytes(1000))) == 1000 * (1 - share)


def test_noise_is_whole_lines_between_bytes() -> None:
    stage = damage.noising(0.1, damage.randoms(1, "n"), lambda: 12.5)
    out = stage.apply(b"abcdefghij" * 20).decode()
    assert out.count("[   12.500000] ") == stage.count > 5
    kept = "".join(part.split("\r\n")[-1] for part in out.split("[   12.500000] "))
    assert kept == "abcdefghij" * 20


# -- wrong rates --------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.sampled_from([0.98, 0.99, 1.01, 1.02]))
def test_rates_that_differ_little_garble_nothing(data: bytes, ratio: float) -> None:
    line = Resampler(115200, round(115200 * ratio))
    assert line.feed(data) + line.idle() == data
    assert line.framing_errors == 0


@given(st.binary(min_size=1, max_size=300), st.lists(st.integers(0, 999), max_size=5))
def test_garbage_does_not_depend_on_how_the_stream_is_cut(data: bytes, places: list[int]) -> None:
    whole, pieces = Resampler(115200, 38400), Resampler(115200, 38400)
    expected = whole.feed(data) + whole.idle()
    assert b"".join(pieces.feed(one) for one in cut(data, places)) + pieces.idle() == expected


def test_a_slow_sender_looks_like_zeros_and_a_fast_one_like_fewer_bytes() -> None:
    text = b"U-Boot 2023.01 (Jan 10 2023 - 00:00:00 +0000)\r\n"
    slow = Resampler(9600, 115200)
    seen = slow.feed(text) + slow.idle()
    assert len(seen) > 2 * len(text)
    assert seen.count(0) + seen.count(0xFF) + seen.count(0xFE) > len(text)
    fast = Resampler(115200, 9600)
    seen = fast.feed(text * 10) + fast.idle()
    assert 0 < len(seen) < len(text) * 10 / 5
    assert text not in seen


# -- the receiver -------------------------------------------------------------------------------


def test_a_fifo_loses_what_comes_while_it_is_full_and_keeps_what_it_has() -> None:
    fifo = ReceiveFifo(16, 1000.0)
    # 100 bytes in 10 ms: the processor takes 10 of them meanwhile, and the FIFO holds 16.
    fifo.arrive(bytes(range(100)), 0.0, 0.01)
    got = fifo.read(1.0)
    assert fifo.overrun == 100 - len(got)
    assert 25 <= len(got) <= 27
    assert got[:16] == bytes(range(16))
    assert list(got) == sorted(got)


@given(st.binary(max_size=500), st.integers(1, 64))
def test_a_fifo_that_is_emptied_in_time_loses_nothing(data: bytes, size: int) -> None:
    fifo = ReceiveFifo(size, 12000.0)
    fifo.arrive(data, 0.0, len(data) * 10 / 115200)
    assert fifo.read(10.0) == data
    assert fifo.overrun == 0


def test_a_stopped_processor_takes_nothing_until_it_goes_on() -> None:
    fifo = ReceiveFifo(4, 0.0)
    fifo.stop(True, 0.0)
    fifo.arrive(b"abcdefgh", 0.0, 0.1)
    assert fifo.read(1.0) == b""
    assert fifo.due() is None
    fifo.stop(False, 2.0)
    assert fifo.read(2.0) == b"abcd"
    assert fifo.overrun == 4


def test_a_delay_hands_on_in_order_and_not_before_time() -> None:
    delay = Delay(0.5)
    delay.put(b"a", 1.0)
    delay.put(b"b", 1.2)
    assert delay.due() == 1.5
    assert [delay.get(1.4), delay.get(1.5), delay.get(9.0)] == [b"", b"a", b"b"]


# -- floods -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("count", [0, 1, 16384, 100_000])
def test_a_flood_has_its_length_and_its_kind(kind: str, count: int) -> None:
    data = b"".join(flood(kind, count))
    assert len(data) == count
    if kind == "line":
        assert b"\n" not in data
    elif count > 1000 and kind == "utf8":
        with pytest.raises(UnicodeDecodeError):
            data.decode()
