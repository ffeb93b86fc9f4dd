"""Netlists as Verilog that a testbench takes for the core itself."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from labctl.errors import LabctlError
from labctl.fpga.model import Core, Variant

# A netlist of gates takes so many times what the core itself takes: a product of LUTs is slow.
_SLOWER = 10.0


def with_parameters(verilog: str, top: str, netlist: Path) -> str:
    """Return ``verilog`` with the parameters of the core declared in its module ``top``.

    They do nothing there, the netlist was made for their values; but testbenches read them.

    Args:
        verilog: As yosys writes it.
        top: The top module.
        netlist: The same as JSON, which has the values.

    Raises:
        LabctlError: There is no such module.
    """
    data = json.loads(netlist.read_bytes())
    values = data["modules"].get(top, {}).get("parameter_default_values", {})
    lines = [f"  parameter {_declaration(name, text)};" for name, text in values.items()]
    head = re.compile(rf"^module {re.escape(top)}\([^;]*\);$", re.MULTILINE)
    found = head.search(verilog)
    if found is None:
        raise LabctlError(f"its netlist has no module '{top}'", thing=str(netlist))
    return "\n".join([verilog[: found.end()], *lines]) + verilog[found.end() :]


def _declaration(name: str, text: str) -> str:
    """Return a parameter with its value; ``text`` is a string of bits or, quoted by yosys, a text.

    Source: yosys, backends/json: a text that looks like bits ends with a blank.
    """
    if not re.fullmatch(r"[01xz]+", text):
        text = text[:-1] if re.fullmatch(r"[01xz]* +", text) else text
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'{name} = "{quoted}"'
    if len(text) == 32 and text.isdecimal():
        # As the core itself writes it: a plain number, which has 32 bits and a sign.
        value = int(text, 2)
        return f"{name} = {value - (1 << 32) if value >> 31 else value}"
    return f"[{len(text) - 1}:0] {name} = {len(text)}'b{text}"


def in_place_of(core: Core, variant: Variant, sources: tuple[Path, ...]) -> tuple[Core, Variant]:
    """Return ``core`` with ``sources`` in the place of its own, which are made for ``variant``."""
    # Nothing is to be set any more; but tests read the parameters from their environment, too.
    baked = replace(
        variant, parameters={}, defines={},
        environment={
            **{f"PARAM_{name}": str(value) for name, value in variant.parameters.items()},
            **core.environment, **variant.environment,
        },
    )  # fmt: skip
    changed = replace(
        core, sources=sources, include=(), defines={}, flags=(), variants=(baked,), data=(),
        simulators=("icarus",), timeout_s=_SLOWER * core.timeout_s,
    )  # fmt: skip
    return changed, baked
