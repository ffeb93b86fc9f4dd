"""Images as files for other programs: what is written is read again, by another reader."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from labctl.boards.flash.formats import ihex
from labctl.boards.flash.handover import intel_hex
from labctl.boards.flash.image import Segment, join

segments = st.lists(
    st.tuples(st.integers(0, 0x3FFFF), st.binary(min_size=1, max_size=300)), min_size=1, max_size=4
)


@given(segments)
def test_intel_hex_comes_back(parts: list[tuple[int, bytes]]) -> None:
    kept: list[Segment] = []
    for address, data in sorted(parts):
        if not kept or kept[-1].end <= address:
            kept.append(Segment(address, data))
    image = ihex.read(intel_hex(kept).encode(), Path("x.hex"))
    assert image.segments == join(kept)


def test_a_record_as_the_specification_has_it() -> None:
    lines = intel_hex([Segment(0xFFFF, b"\x01\x02")]).splitlines()
    assert lines == [":01FFFF000100", ":020000040001F9", ":0100000002FD", ":00000001FF"]
