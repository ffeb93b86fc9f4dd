"""A bitstream whose record says that it is too slow is not written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from labctl.boards.flash.bitstream import check_timing
from labctl.boards.flash.method import RefusedError

BYTES = b"\xff\x00\x00\xff bitstream"
CLOCKS = [{"signal": "clk", "wanted_mhz": 48.0, "reached_mhz": 43.06}]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "blink.bin"
    path.write_bytes(BYTES)
    return path


def record(image: Path, **changes: object) -> None:
    data = {
        "schema": "labctl.bitstream/1",
        "sha256": hashlib.sha256(BYTES).hexdigest(),
        "timing": "passed",
        "clocks": CLOCKS,
    }
    image.with_name("blink.bin.json").write_text(json.dumps(data | changes))


def test_one_that_failed_is_refused_with_the_clock(image: Path) -> None:
    record(image, timing="failed")
    with pytest.raises(RefusedError, match=r"blink.bin: it is too slow .*clk reaches 43.1 of 48.0"):
        check_timing(image)


@pytest.mark.parametrize("timing", ["passed", "measured"])
def test_one_that_passed_or_has_no_constraint_is_taken(image: Path, timing: str) -> None:
    record(image, timing=timing)
    check_timing(image)


def test_a_record_of_another_bitstream_says_nothing_of_this_one(image: Path) -> None:
    record(image)
    image.write_bytes(BYTES + b"\x00")
    with pytest.raises(RefusedError, match="about another bitstream"):
        check_timing(image)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00\xff"])
def test_a_damaged_record_is_no_permission(image: Path, text: str) -> None:
    image.with_name("blink.bin.json").write_text(text, encoding="latin-1")
    with pytest.raises(RefusedError, match="its timing is not known"):
        check_timing(image)


@pytest.mark.parametrize("text", [None, "[]", "{}", '{"schema": "other/1"}'])
def test_an_image_without_a_record_is_not_judged(image: Path, text: str | None) -> None:
    if text is not None:
        image.with_name("blink.bin.json").write_text(text)
    check_timing(image)


@pytest.mark.parametrize("clocks", [None, 5, [None], [{}], [{"signal": 1, "wanted_mhz": "x"}]])
def test_what_stands_in_the_record_is_not_trusted(image: Path, clocks: object) -> None:
    record(image, timing="failed", clocks=clocks)
    with pytest.raises(RefusedError, match="it is too slow for its clock; "):
        check_timing(image)
