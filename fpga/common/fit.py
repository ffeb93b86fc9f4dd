"""Area and clock of the cores on an iCE40 UP5K, as rows for their README files.

Usage: python fpga/common/fit.py [CORE[:NAME=VALUE,...]...]

It needs Debian's yosys and nextpnr-ice40.

Each core is put between registers that form one shift register, so that paths to and from its ports
count and the number of pins does not. Clocks are nextpnr's, the worst of three place seeds; area is
that of yosys for the core alone. Parameters have their defaults unless given: `matmul:N=2,DSPS=0`.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

FPGA = Path(__file__).parents[1]
SEEDS = (1, 2, 3)
DSPS = 8  # of the UP5K (Lattice FPGA-DS-02008, table 1.1); a core with more products gets none

Port = tuple[str, str, int]
Values = dict[str, str]


def run(*command: str) -> None:
    """Run one tool.

    Raises:
        SystemExit: it failed; with the end of what it said.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        sys.exit(f"{command[0]} failed: {(done.stdout + done.stderr)[-1500:]}")


def synthesise(sources: str, top: str, out: Path, target: str, values: Values) -> dict:
    """The top of a netlist, as yosys writes it."""
    change = "".join(f"chparam -set {name} {value} {top}; " for name, value in values.items())
    script = f"read_verilog {sources}; {change}{target} -top {top}; write_json {out}"
    run("yosys", "-q", "-p", script)
    # With other parameters it has another name.
    modules = json.loads(out.read_text())["modules"].values()
    return next(one for one in modules if "top" in one["attributes"])


def harness(top: str, values: Values, clocks: set[str], ports: list[Port]) -> str:
    """A design with four pins: every other port of the core is a bit of a shift register."""
    ins = [(name, width) for name, way, width in ports if way == "input" and name not in clocks]
    outs = [(name, width) for name, way, width in ports if way == "output"]
    links = [f".{name}(clk)" for name in sorted(clocks)]
    for bits, group in (("given", ins), ("got", outs)):
        at = 0
        for name, width in group:
            links.append(f".{name}({bits}[{at} +: {width}])")
            at += width
    total_in, total_out = (sum(width for _, width in group) for group in (ins, outs))
    parameters = ", ".join(f".{name}({value})" for name, value in values.items())
    return f"""
module fit(input wire clk, input wire d, input wire load, output wire q);
  reg [{total_in - 1}:0] given;
  wire [{total_out - 1}:0] got;
  reg [{total_out - 1}:0] held, shift;
  {top} #({parameters}) core({", ".join(links)});
  always @(posedge clk) begin
    given <= {{given, d}};
    held <= got;
    shift <= load ? held : {{1'b0, shift}} >> 1;
  end
  assign q = shift[0];
endmodule
"""


def fit(folder: Path, values: Values, work: Path) -> str:
    """One row: logic cells by kind, and the clock in MHz."""
    core = yaml.safe_load((folder / "core.yaml").read_text())
    top = core["top"]
    sources = " ".join(str(f) for s in core["sources"] for f in sorted(folder.glob(s)))
    target = "synth_ice40 -dsp"
    netlist = synthesise(sources, top, work / "core.json", target, values)
    kinds = [cell["type"] for cell in netlist["cells"].values()]
    if kinds.count("SB_MAC16") > DSPS:
        target = "synth_ice40"
        netlist = synthesise(sources, top, work / "core.json", target, values)
        kinds = [cell["type"] for cell in netlist["cells"].values()]
    area = {
        "LUT": sum(kind == "SB_LUT4" for kind in kinds),
        "FF": sum(kind.startswith("SB_DFF") for kind in kinds),
        "RAM": sum(kind.startswith("SB_RAM") for kind in kinds),
        "DSP": sum(kind == "SB_MAC16" for kind in kinds),
    }
    ports = [(name, one["direction"], len(one["bits"])) for name, one in netlist["ports"].items()]
    clocks = {name for name, _, _ in ports if name == "clk" or name.endswith("_clk")}
    (work / "fit.v").write_text(harness(top, values, clocks, ports))
    synthesise(f"{sources} {work / 'fit.v'}", "fit", work / "fit.json", target, {})
    clock = []
    for seed in SEEDS:
        options = [
            "--up5k",
            "--package",
            "sg48",
            "--pcf-allow-unconstrained",
            "--timing-allow-fail",
        ]
        files = ["--json", str(work / "fit.json"), "--report", str(work / "report.json")]
        run("nextpnr-ice40", "-q", *options, *files, "--freq", "24", "--seed", str(seed))
        report = json.loads((work / "report.json").read_text())
        clock.append(min(one["achieved"] for one in report["fmax"].values()))
    cells = ", ".join(f"{count} {kind}" for kind, count in area.items() if count)
    name = ":".join((folder.name, *(f"{key}={value}" for key, value in values.items())))
    return f"{name}: {cells}; {min(clock):.1f} MHz ({', '.join(f'{c:.1f}' for c in clock)})"


def main() -> None:
    """Print a row for each core named, or for all."""
    names = sys.argv[1:] or sorted(path.parent.name for path in FPGA.glob("*/core.yaml"))
    for name in names:
        core, _, given = name.partition(":")
        values = dict(one.split("=", 1) for one in given.split(",") if one)
        with tempfile.TemporaryDirectory() as work:
            print(fit(FPGA / core, values, Path(work)), flush=True)


if __name__ == "__main__":
    main()
