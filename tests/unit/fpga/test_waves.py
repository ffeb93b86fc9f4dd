"""Choosing signals, drawing them, lists for viewers; see test_fst.py for the recordings."""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.fpga.waves import chosen as choosing
from labctl.fpga.waves import lz4
from labctl.fpga.waves.chosen import Chosen, Group, choose
from labctl.fpga.waves.model import Signal, Trace
from labctl.fpga.waves.picture import draw, hexadecimal, time_text
from labctl.fpga.waves.ports import ports_of
from labctl.fpga.waves.view import command, gtkwave, surfer, write_lists

CLOCK = Trace(tuple(range(0, 1000, 5)), ("0", "1") * 100)


class Recording:
    """What `choose` needs of a recording, without a file."""

    start, end, unit_s = 0, 995, 1e-12
    values: ClassVar = {
        "top.clk": CLOCK,
        "top.rst": Trace((0, 20), ("1", "0")),
        "top.din": Trace((0, 985), ("0000", "0110")),
        "top.dout": Trace((0,), ("00000000",)),
        "top.inner": Trace((0, 500), ("0", "1")),
        "top.u.state": Trace((0, 990), ("00", "1x")),
        "top.u.busy": Trace(tuple(range(0, 1000, 10)), ("0", "1") * 50),
        "top.u.clk": CLOCK,
        "top.u.odd": Trace((0, 300), ("0", "1")),
    }

    def __init__(self, path: Path) -> None:
        handles: dict[int, int] = {}
        self.signals = tuple(
            Signal(name, len(trace.values[0]), handles.setdefault(id(trace), len(handles)))
            for name, trace in self.values.items()
        )

    def traces(self, signals: list[Signal], since: int | None = None) -> dict[str, Trace]:
        return {one.name: self.values[one.name] for one in signals}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Chosen:
    monkeypatch.setattr(choosing, "FstFile", Recording)
    ports = {"clk": "input", "rst": "input", "din": "input", "dout": "output", "none": "output"}
    return choose(Path("w.fst"), "top", ports, "LogicObject(top.u.odd).value is 1, not 0")


def test_what_matters_comes_first_and_nothing_twice(found: Chosen) -> None:
    assert {group.title: [one.name for one in group.signals] for group in found.groups} == {
        "clock and reset": ["top.clk", "top.rst"],
        "named by the test": ["top.u.odd"],
        "inputs": ["top.din"],
        "outputs": ["top.dout"],
        # The one that seldom changes before the one that always does; the clock's alias is none.
        "changed near the end": ["top.u.state", "top.u.busy"],
    }
    rises = [time for time, value in zip(CLOCK.times, CLOCK.values, strict=True) if value == "1"]
    assert (found.start, found.end) == (rises[-choosing.CYCLES], 995)
    assert set(found.traces) == {one.name for one in found.signals}


def test_the_picture_is_an_element_of_a_page_with_all_values(found: Chosen) -> None:
    picture = ET.fromstring(draw(found))
    texts = [list(one.itertext())[-1] for one in picture.iter("text")]
    for one in ("clk", "u.state", "0", "6", "00", "995 ps"):
        assert one in texts
    kinds = [one.get("class") for one in picture.iter("path")]
    assert kinds.count("bit") == 4
    assert kinds.count("x") == 1  # u.state is 1x in the end
    assert all(float(one.get("x", "0")) >= 0 for one in picture.iter("rect"))


def test_signals_of_any_name_cannot_leave_the_picture() -> None:
    signal = Signal('a.<script>"&', 1, 0)
    chosen = Chosen((Group("<b>", (signal,)),), {signal.name: Trace((0,), ("x",))}, 0, 10, 1e-9)
    ET.fromstring(draw(chosen))


def test_lists_for_viewers(tmp_path: Path, found: Chosen) -> None:
    waves = tmp_path / "waves.fst"
    lists = write_lists(waves, found)
    lines = lists.gtkwave.read_text().splitlines()
    assert f'[dumpfile] "{waves}"' in lines
    assert lines[lines.index("@28") + 1] == "top.clk"
    assert lines[lines.index("-inputs") + 1 :][:2] == ["@22", "top.din"]
    assert f"*{0.0:.6f} 995" in gtkwave(waves, found)
    commands = surfer(found).splitlines()
    assert commands == lists.surfer.read_text().splitlines()
    assert commands[:2] == ["divider_add clock and reset", "variable_add top.clk"]
    assert "cursor_set 995" in commands
    assert command("/usr/bin/surfer", waves, lists)[2:] == ["--command-file", str(lists.surfer)]
    assert command("/usr/bin/gtkwave", waves, lists)[-2:] == ["--save", str(lists.gtkwave)]
    assert command("gtkwave", waves, None) == ["gtkwave", str(waves)]


@pytest.mark.parametrize(
    ("source", "ports"),
    [
        (
            "module other(input x); endmodule\n"
            "module top #(parameter W = 8) (input wire clk, // input ghost\n"
            " input [W-1:0] a, b, output reg signed [3:0] q /* output no */, inout z);\nendmodule",
            {"clk": "input", "a": "input", "b": "input", "q": "output", "z": "inout"},
        ),
        (
            "module top(a, b); input a; output b; wire input_1; endmodule",
            {"a": "input", "b": "output"},
        ),
        ("module topper(input a); endmodule", {}),
    ],
)
def test_ports_are_read_from_the_source(tmp_path: Path, source: str, ports: dict[str, str]) -> None:
    (tmp_path / "a.v").write_text(source)
    assert ports_of([tmp_path / "none.v", tmp_path / "a.v"], "top") == ports
    assert list(ports_of([tmp_path / "a.v"], "top")) == list(ports)


@pytest.mark.parametrize(
    ("value", "text"),
    [("0", "0"), ("10110", "16"), ("x", "x"), ("1x", "x"), ("zzzz", "z"), ("zzzz0001", "z1")],
)
def test_hexadecimal(value: str, text: str) -> None:
    assert hexadecimal(value, len(value)) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 fs"), (5e-12, "5 ps"), (1e-9, "1 ns"), (425.395e-6, "425.395 us")]
)
def test_times_have_the_unit_in_which_they_are_short(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def packed(data: bytes, matches: list[tuple[int, int, int]]) -> bytes:
    """Pack as LZ4: text up to a place, then a repetition, for each match; the rest as text."""
    out, at = bytearray(), 0

    def length(number: int) -> bytes:
        if number < 15:
            return b""
        return b"\xff" * ((number - 15) // 255) + bytes([(number - 15) % 255])

    for place, back, count in matches:
        text = data[at:place]
        out.append(min(15, len(text)) << 4 | min(15, count - 4))
        out += length(len(text)) + text + back.to_bytes(2, "little") + length(count - 4)
        at = place + count
    text = data[at:]
    out.append(min(15, len(text)) << 4)
    return bytes(out + length(len(text)) + text)


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(1, 30), st.integers(4, 700))))
def test_lz4_is_unpacked(parts: list[tuple[bytes, int, int]]) -> None:
    data, matches = bytearray(b"begin of it"), []
    for text, wanted, count in parts:
        data += text
        back = min(wanted, len(data))
        matches.append((len(data), back, count))
        for _ in range(count):
            data.append(data[-back])
    data += b"end"
    whole = packed(bytes(data), matches)
    assert lz4.unpack_lz4(whole, len(data)) == data
    with pytest.raises(lz4.DamagedError):
        lz4.unpack_lz4(whole, len(data) + 1)


@given(st.binary(max_size=200), st.integers(0, 1000))
def test_what_is_no_packed_data_is_refused(data: bytes, size: int) -> None:
    for unpack in (lz4.unpack_lz4, lz4.unpack_fastlz):
        with contextlib.suppress(lz4.DamagedError):
            assert len(unpack(data, size)) == size
