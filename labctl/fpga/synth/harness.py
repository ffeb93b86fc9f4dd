"""A core between registers, so that paths to and from its ports count and its pins do not.

A core that is a part of a design has more ports than a chip has pins, and no file of pins. All its
inputs are bits of one shift register, all its outputs are held and shifted out. Its clocks become
one: paths between them count as if they were within the fastest, which is the stricter view.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

TOP = "labctl_fit"
CLOCK = "clk"


def clocks_of(ports: Mapping[str, Any], declared: Iterable[str]) -> set[str]:
    """Return which ports are clocks: those that are declared, and those that are named like one."""
    named = {name for name in ports if name == "clk" or name.endswith("_clk")}
    return (named | set(declared)) & {
        name for name, port in ports.items() if port["direction"] == "input"
    }


def harness(module: str, ports: Mapping[str, Any], clocks: Iterable[str]) -> str:
    """Return a design with four pins around ``module``.

    Args:
        module: The core.
        ports: Its ports, as yosys' JSON has them.
        clocks: Those that are clocks.
    """
    clocks = set(clocks)
    links = [f".{name}({CLOCK})" for name in sorted(clocks)]
    sizes = {"input": 0, "output": 0}
    for name, port in ports.items():
        way, width = port["direction"], len(port["bits"])
        if name in clocks or way not in sizes:
            continue
        wires = "given" if way == "input" else "got"
        links.append(f".{name}({wires}[{sizes[way]} +: {width}])")
        sizes[way] += width
    ins, outs = max(1, sizes["input"]), max(1, sizes["output"])
    return f"""module {TOP}(input wire {CLOCK}, input wire d, input wire load, output wire q);
  reg [{ins - 1}:0] given;
  wire [{outs - 1}:0] got;
  reg [{outs - 1}:0] held, shift;
  {module} core({", ".join(links)});
  always @(posedge {CLOCK}) begin
    given <= {{given, d}};
    held <= got;
    shift <= load ? held : {{1'b0, shift}} >> 1;
  end
  assign q = shift[0];
endmodule
"""
