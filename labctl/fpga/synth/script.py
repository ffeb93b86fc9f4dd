"""Lines of scripts of yosys.

Source: yosys' own ``help``; the quoting is that of `Pass::call` (kernel/register.cc): a word in
double quotes may hold blanks.
"""

from __future__ import annotations

import re

from labctl.errors import UsageError
from labctl.fpga.model import Value
from labctl.fpga.synth.design import Design, shown

_NUMBER = re.compile(r"\d*'[sS]?[bBoOdDhH][0-9a-fA-FxXzZ_?]+|-?\d+")


def quoted(name: str) -> str:
    """Return ``name`` as one word.

    Raises:
        UsageError: It has a character that no script can hold.
    """
    if re.search(r'["\n\r;]', name):
        raise UsageError(
            "yosys cannot be told of this name", thing=name,
            action="rename it, without quotes, semicolons and line ends",
        )  # fmt: skip
    return f'"{name}"'


def reading(design: Design) -> list[str]:
    """Return the lines that read ``design`` and set its parameters."""
    options = [
        *(f"-D{name}" if value is None else f"-D{name}={value}"
          for name, value in design.defines.items()),
        *(quoted(f"-I{shown(design, folder)}") for folder in design.include),
    ]  # fmt: skip
    files = [quoted(shown(design, path)) for path in design.sources]
    lines = [" ".join(["read_verilog", "-sv", *options, *files])]
    if design.parameters:
        settings = [
            f"-set {name} {_constant(value)}" for name, value in sorted(design.parameters.items())
        ]
        lines.append(" ".join(["chparam", *settings, design.top]))
        # A design with parameters may get another name, such as "$paramod\\fifo\\WIDTH=...".
        lines += [f"hierarchy -check -top {design.top}", f"rename -top {design.top}"]
    return lines


def _constant(value: Value) -> str:
    """Return ``value`` as a constant of yosys, which reads plain numbers as 32 bits with a sign."""
    if isinstance(value, str) and not re.fullmatch(r"-?\d+", value):
        return value if _NUMBER.fullmatch(value) else quoted_text(value)
    number = int(value)
    if -(2**31) <= number < 2**31:
        return str(number)
    width = max(32, number.bit_length() + (number < 0))
    return f"{width}'b{number % (1 << width):0{width}b}"


def quoted_text(text: str) -> str:
    """Return ``text`` as a constant: a word that has quotes of its own."""
    return '"\\"' + text.replace("\\", "\\\\").replace('"', '\\"') + '\\""'
