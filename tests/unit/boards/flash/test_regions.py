"""What fits into a region, and which blocks are erased for it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.boards.flash.image import Segment, fill, join
from labctl.boards.flash.method import RefusedError
from labctl.boards.flash.regions import Kept, Region

# As an STM32F446's flash is: 4 x 16 KiB, 64 KiB, 3 x 128 KiB.
UNEVEN = Region("flash", 0x0800_0000, 512 << 10, ((4, 16 << 10), (1, 64 << 10), (3, 128 << 10)))
EVEN = Region("nor", 0x0400_0000, 1 << 20, ((4, 256 << 10),))


@pytest.mark.parametrize("region", [UNEVEN, EVEN])
def test_its_blocks_cover_it(region: Region) -> None:
    at = region.base
    for address, size in region.erase_blocks():
        assert address == at
        at += size
    assert at == region.end


PART = st.tuples(st.integers(0, (512 << 10) - 3000), st.binary(min_size=1, max_size=3000))


@settings(deadline=None)  # it takes as long as the machine is busy
@given(region=st.sampled_from([UNEVEN, EVEN]), parts=st.lists(PART, min_size=1, max_size=4))
def test_whole_blocks_hold_the_image_and_are_erased_elsewhere(
    region: Region, parts: list[tuple[int, bytes]]
) -> None:
    segments: list[Segment] = []
    for offset, data in parts:
        one = Segment(region.base + offset, data)
        if all(one.end <= other.address or other.end <= one.address for other in segments):
            segments.append(one)
    blocks = region.whole_blocks(segments)
    assert {(one.address, len(one.data)) for one in blocks} <= set(region.erase_blocks())
    used = sum(len(one.data) for one in segments)
    assert sum(len(one.data) for one in blocks) >= used
    for one in segments:
        for block in blocks:
            begin, end = max(one.address, block.address), min(one.end, block.end)
            if begin < end:
                assert (
                    block.data[begin - block.address : end - block.address]
                    == (one.data[begin - one.address : end - one.address])
                )
    written = sum(sum(value != 0xFF for value in one.data) for one in segments)
    assert sum(sum(value != 0xFF for value in block.data) for block in blocks) == written


def test_what_is_too_large_is_refused_with_figures() -> None:
    with pytest.raises(
        RefusedError,
        match=r"by 1 byte: it has 1,048,577 at 0x4000000, and 'nor' is 0x4000000 to 0x40fffff",
    ):
        EVEN.check([Segment(EVEN.base, bytes((1 << 20) + 1))], thing="b1")
    with pytest.raises(RefusedError):
        EVEN.check([Segment(EVEN.base - 1, b"x")], thing="b1")


def test_what_must_stay_is_refused_even_where_only_its_block_is_shared() -> None:
    region = Region("nor", 0, 1 << 20, ((4, 256 << 10),), (Kept(0x40, 16, "the serial number"),))
    with pytest.raises(RefusedError, match="it would erase the serial number at 0x40"):
        region.check([Segment(0x1000, b"x")], thing="b1")
    region.check([Segment(256 << 10, b"x")], thing="b1")


def test_neighbours_become_one_and_overlaps_are_an_error() -> None:
    assert join([Segment(4, b"b"), Segment(0, b"aaaa"), Segment(9, b"")]) == (Segment(0, b"aaaab"),)
    with pytest.raises(ValueError, match="overlap at 0x3"):
        join([Segment(0, b"aaaa"), Segment(3, b"b")])
    assert fill([Segment(1, b"a"), Segment(4, b"b")]) == Segment(1, b"a\xff\xffb")
