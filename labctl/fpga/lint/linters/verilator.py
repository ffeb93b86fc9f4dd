"""Verilator, as a linter: all its warnings, nothing is built.

Source: its manual, "Errors and Warnings"; the form of the lines is that of versions 4 and 5.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from labctl.fpga.lint.finding import Finding, place_of
from labctl.fpga.model import Core, Value, Variant
from labctl.fpga.simulators.base import literal, merged_defines

NAME = "verilator"
PROGRAM = "verilator"
VERSION: Sequence[str] = ("--version",)
INSTALL = "apt install verilator"
PER_VARIANT = True
_LINE = re.compile(
    r"^%(?P<kind>Warning|Error)(?:-(?P<rule>\w+))?: "
    r"(?:(?P<file>[^:\n]+):(?P<line>\d+):(?:\d+:)? )?(?P<text>.+)$"
)
# They count the others.
_NOISE = re.compile(r"Exiting due to \d+|^Command Failed")


def command(core: Core, variant: Variant, program: str) -> list[str]:
    """See `labctl.fpga.lint.finding.Linter`."""
    return [
        program, "--lint-only", "-Wall", "--top-module", core.top,
        *(f"-D{name}" if value is None else f"-D{name}={value}"
          for name, value in merged_defines(core, variant).items()),
        *(f"-I{folder.absolute()}" for folder in core.include),
        *(f"-G{name}={_unsized(value)}" for name, value in variant.parameters.items()),
        *(str(source.absolute()) for source in core.sources),
    ]  # fmt: skip


def _unsized(value: Value) -> str:
    """Return ``value`` so that it has no width; of "16" it would say that it has 32 bits."""
    text = literal(value)
    return f"'sd{text}" if text.isdecimal() and int(text) < 2**31 else text


def read(output: str, core: Core) -> list[Finding]:
    """See `labctl.fpga.lint.finding.Linter`."""
    found = []
    for line in output.splitlines():
        one = _LINE.match(line)
        if one is None or _NOISE.search(one["text"]):
            continue
        kind = one["kind"].lower()
        rule = one["rule"] or ("syntax" if "syntax error" in one["text"] else kind)
        path = place_of(one["file"], core) if one["file"] else None
        found.append(Finding(NAME, kind, rule, one["text"], path, int(one["line"] or 0)))
    return found
