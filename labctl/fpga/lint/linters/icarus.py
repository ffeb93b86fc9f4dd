"""Icarus Verilog with all its warnings; it is always there, as the tests need it.

Source: iverilog(1), "-W class"; the texts are those of version 11. It names no rule, so the rules
here are the classes of the manual page, told by the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from labctl.fpga.lint.finding import Finding, place_of
from labctl.fpga.model import Core, Variant
from labctl.fpga.simulators.base import literal, merged_defines

NAME = "icarus"
PROGRAM = "iverilog"
VERSION: Sequence[str] = ("-V",)
INSTALL = "apt install iverilog"
PER_VARIANT = True
_LINE = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+): (?P<text>.+)$")
_RULES = (
    ("implicit", re.compile(r"implicit definition of wire")),
    ("portbind", re.compile(r"[Pp]ort .*expects \d+ bits?|dangling|[Ii]nput port .* floating")),
    ("select-range", re.compile(r"select .* (?:after|before) vector|out of (?:bounds|range)")),
    ("infloop", re.compile(r"infinite loop")),
    ("sensitivity", re.compile(r"sensitive to|sensitivity|@\*")),
    ("parameter", re.compile(r"parameter \S+ not found")),
    ("timescale", re.compile(r"timescale")),
)
# They count others, or repeat what the line before said.
_NOISE = re.compile(r"^\s|error\(s\) during elaboration|^I give up")


def command(core: Core, variant: Variant, program: str) -> list[str]:
    """See `labctl.fpga.lint.finding.Linter`."""
    return [
        program, "-t", "null", "-g2012", "-Wall", "-Wno-timescale", "-s", core.top,
        *(f"-D{name}" if value is None else f"-D{name}={value}"
          for name, value in merged_defines(core, variant).items()),
        *(f"-I{folder.absolute()}" for folder in core.include),
        *(f"-P{core.top}.{name}={literal(value)}" for name, value in variant.parameters.items()),
        *core.flags,
        *(str(source.absolute()) for source in core.sources),
    ]  # fmt: skip


def read(output: str, core: Core) -> list[Finding]:
    """See `labctl.fpga.lint.finding.Linter`."""
    found = []
    for line in output.splitlines():
        if _NOISE.search(line):
            continue
        where = _LINE.match(line)
        text = where["text"].strip() if where else line.strip()
        if text.startswith(":"):
            continue  # more of the line before
        if where is None and not re.match(r"(?i)error|warning|unable", text):
            continue
        warning = re.match(r"(?i)warning: ", text)
        text = re.sub(r"(?i)^(?:error|warning|sorry): ", "", text)
        rule = next((name for name, pattern in _RULES if pattern.search(text)), "")
        path = place_of(where["file"], core) if where else None
        found.append(
            Finding(
                NAME, "warning" if warning else "error",
                rule or ("other" if warning else "syntax" if "syntax error" in text else "error"),
                text, path, int(where["line"]) if where else 0,
            )
        )  # fmt: skip
    return found
