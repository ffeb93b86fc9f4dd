"""Mutants, as yosys lists them.

Source: ``yosys -p "help mutate"`` and passes/sat/mutate.cc: a mutant changes one bit of one port of
one cell; ``-src`` are the places in the sources of the wire, then of the cell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_WORDS = {
    "inv": "inverted",
    "const0": "stuck at 0",
    "const1": "stuck at 1",
    "cnot0": "inverted while bit {ctrl} is 0",
    "cnot1": "inverted while bit {ctrl} is 1",
}
# An option begins where one of these names follows; a name of a cell may hold anything else.
_OPTION = re.compile(r" -(?=(?:mode|ctrl|module|cell|port|portbit|ctrlbit|wire|wirebit|src) )")
# "rtl/a.v:12.3-12.9": file, first line and column, last line and column.
_PLACE = re.compile(r"^(?P<file>.+):(?P<line>\d+)\.\d+(?:-\d+\.\d+)?$")
# Names that yosys makes: "$add$rtl/a.v:12$5", "$procmux$12", "$auto$...".
_MADE = re.compile(r"^\$(?P<kind>\w+)\$")
_KINDS = {"procmux": "mux", "ternary": "mux", "auto": "gate"}
# Ports that only registers have; names of these say nothing.
_REGISTER = {"D", "Q", "EN", "CLK", "SRST", "ARST"}


@dataclass(frozen=True)
class Mutant:
    """One change of a design.

    Attributes:
        number: From 1; what the selector of the build takes.
        mode: What happens to the bit, as yosys calls it.
        module: Module of the cell.
        cell: Name of the cell.
        port: Port of the cell.
        bit: Bit of the port.
        control: Bit of the port by which the change is switched, for some modes.
        wire: The wire at that port, as the source calls it; may be empty.
        places: File and line, those of the cell last.
    """

    number: int
    mode: str
    module: str
    cell: str
    port: str
    bit: int
    control: int | None = None
    wire: str = ""
    places: tuple[tuple[str, int], ...] = field(default=())

    @property
    def place(self) -> tuple[str, int]:
        """File and line of the cell; an empty name where yosys does not say."""
        return self.places[-1] if self.places else ("", 0)

    def describe(self) -> str:
        """Return what was changed, for people."""
        what = _WORDS.get(self.mode, self.mode).format(ctrl=self.control)
        made = _MADE.match(self.cell)
        cell = self.cell
        if made:
            cell = "register" if self.port in _REGISTER else _KINDS.get(made["kind"], made["kind"])
        wire = f" ({self.wire})" if self.wire else ""
        return f"{cell}.{self.port}[{self.bit}]{wire} {what}"


def read_list(text: str) -> list[Mutant]:
    """Return the mutants of a list that ``mutate -list … -ctrl …`` wrote, in its order.

    Raises:
        ValueError: A line is not as it should be.
    """
    found = []
    for line in text.splitlines():
        if not line.startswith("mutate "):
            continue
        options: dict[str, list[str]] = {}
        for part in _OPTION.split(line)[1:]:
            name, _, value = part.partition(" ")
            options.setdefault(name, []).append(value.strip())
        control = options["ctrl"][0].split() if "ctrl" in options else []
        if len(control) != 3 or not {"mode", "module", "cell", "port", "portbit"} <= set(options):
            raise ValueError(f"not a mutant: {line[:200]}")
        places = [_PLACE.match(one) for one in options.get("src", [])]
        found.append(
            Mutant(
                number=int(control[2]),
                mode=options["mode"][0],
                module=options["module"][0],
                cell=options["cell"][0],
                port=options["port"][0],
                bit=int(options["portbit"][0]),
                control=int(options["ctrlbit"][0]) if "ctrlbit" in options else None,
                wire=options.get("wire", [""])[0],
                places=tuple((one["file"], int(one["line"])) for one in places if one),
            )
        )
    return found
