"""The reader of FST against the simulator's own Value Change Dump of the same run."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from labctl.errors import LabctlError
from labctl.fpga.waves.fst import FstFile

pytestmark = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog is not installed: apt install iverilog"
)
# Vectors of many widths, states that are neither 0 nor 1, the same net under several names, a real
# number, what never changes, and much that repeats itself, so that all kinds of packing are used.
DESIGN = """
`timescale 1ns/100ps
module leaf (input wire c, input wire [6:0] d, output reg [130:0] q);
  always @(posedge c) q <= {q[123:0], d};
endmodule
module top;
  reg c = 0; reg [6:0] d; reg one; reg [8:0] mixed; wire [130:0] q; reg [31:0] still = 5;
  integer i; real r; wire z; tri [3:0] bus; reg en = 0; parameter P = 9;
  assign bus = en ? d[3:0] : 4'bz;
  leaf a (.c(c), .d(d), .q(q));
  leaf b (.c(c), .d(~d), .q());
  initial begin
    $dumpfile("out.w"); $dumpvars(0, top);
    for (i = 0; i < 700; i = i + 1) begin
      #5 c = ~c;
      if (i % 3 == 0) begin d = i; one = i[4] ? 1'bx : i[5] ? 1'bz : i[1]; end
      if (i % 7 == 0) begin mixed = {i[2:0], 3'bx0z, i[8:6]}; en = i[3]; r = i / 3.0; end
    end
    #50 $finish;
  end
endmodule
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("waves")
    (folder / "top.v").write_text(DESIGN)
    subprocess.run(
        ["iverilog", "-g2012", "-o", "sim", "-s", "top", "top.v"], cwd=folder, check=True,
        timeout=60,
    )  # fmt: skip
    for way in ("vcd", "fst", "fst-speed", "fst-space"):
        subprocess.run(
            ["vvp", "-n", "sim", f"-{way}"],
            cwd=folder,
            check=True,
            timeout=60,
            stdout=subprocess.DEVNULL,
        )
        (folder / "out.w").rename(folder / way)
    return folder


def vcd(path: Path) -> tuple[dict[str, str], dict[str, dict[int, str]]]:
    """Return codes by names, and for each code the values by time (IEEE 1364-2005, 18.2)."""
    names, values, scopes, now = {}, {}, [], 0
    sizes = {}
    for line in path.read_text().splitlines():
        words = line.split()
        if line.startswith("$scope"):
            scopes.append(words[2])
        elif line.startswith("$upscope"):
            scopes.pop()
        elif line.startswith("$var"):
            names[".".join([*scopes, words[4]])] = words[3]
            sizes[words[3]] = 0 if words[1] == "real" else int(words[2])
            values[words[3]] = {}
        elif line.startswith("#"):
            now = int(line[1:])
        elif re.match(r"[01xz]\S", line):
            values[line[1:]][now] = line[0]
        elif line.startswith("b"):
            text, code = words[0][1:], words[1]
            fill = text[0] if text[0] in "xz" else "0"
            values[code][now] = text.rjust(sizes[code], fill)
    return names, values


@pytest.mark.parametrize("way", ["fst", "fst-speed", "fst-space"])
def test_all_values_are_those_of_the_vcd(folder: Path, way: str) -> None:
    names, values = vcd(folder / "vcd")
    waves = FstFile(folder / way)
    assert (waves.start, waves.unit_s) == (0, 1e-10)
    assert {one.name for one in waves.signals} == set(names)
    found = waves.traces(waves.signals)
    for signal in waves.signals:
        if signal.bits:
            expected: dict[int, str] = {}
            for time, value in values[names[signal.name]].items():
                if not expected or list(expected.values())[-1] != value:
                    expected[time] = value
            trace = found[signal.name]
            assert dict(zip(trace.times, trace.values, strict=True)) == expected, signal
    assert next(one for one in waves.signals if one.name == "top.r").bits == 0


def test_a_part_is_the_end_of_the_whole(folder: Path) -> None:
    waves = FstFile(folder / "fst")
    whole = waves.traces(waves.signals)
    since = waves.end - 5000
    for name, part in waves.traces(waves.signals, since).items():
        assert part.times == whole[name].times[len(whole[name].times) - len(part.times) :]
        assert all(time > since for time in part.times[1:])
        assert len(part.times) < 200


def test_what_is_damaged_is_an_error_for_people(folder: Path, tmp_path: Path) -> None:
    data = (folder / "fst").read_bytes()
    broken = tmp_path / "broken"
    for size in (0, 1, 200, 400, len(data) // 2, len(data) - 1):
        broken.write_bytes(data[:size])
        with pytest.raises(LabctlError, match="no readable recording"):
            FstFile(broken).traces(FstFile(broken).signals)
    for at in range(330, len(data), 101):
        broken.write_bytes(data[:at] + bytes([data[at] ^ 0x5A]) + data[at + 1 :])
        try:
            waves = FstFile(broken)
            waves.traces(waves.signals)
        except LabctlError:
            pass
