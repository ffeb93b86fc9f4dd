"""Yosys: what cannot be synthesised, latches, loops, wires without or with two drivers.

Source: ``yosys -p "help check"`` and what 0.23 says while it reads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from labctl.fpga.lint.finding import Finding, place_of
from labctl.fpga.model import Core, Variant
from labctl.fpga.synth import design, script

NAME = "yosys"
PROGRAM = "yosys"
VERSION: Sequence[str] = ("-V",)
INSTALL = "apt install yosys"
PER_VARIANT = True
_LINE = re.compile(r"^(?:(?P<file>[^:\n]+):(?P<line>\d+): )?(?P<kind>Warning|ERROR): (?P<text>.+)$")
_LATCH = re.compile(r"^Latch inferred for signal `(?P<signal>[^']+)' from process (?P<where>.*)$")
# A place within a text: "... `\\top.$proc$rtl/a.v:8$5'", "... See rtl/a.v:8".
_PLACE = re.compile(r"(?P<file>[^$`'\s]+\.\w+):(?P<line>\d+)(?:\.\d+)?")
_RULES = (
    ("no-driver", re.compile(r"has no driver|used but has no driver")),
    ("drivers", re.compile(r"multiple conflicting drivers|[Dd]river-driver conflict")),
    ("loop", re.compile(r"found logic loop")),
    ("implicit", re.compile(r"implicitly declared")),
    ("width", re.compile(r"Resizing cell port")),
    ("select-range", re.compile(r"out of bounds")),
    ("memory", re.compile(r"Replacing memory")),
    ("syntax", re.compile(r"syntax error")),
)


def command(core: Core, variant: Variant, program: str) -> list[str]:
    """See `labctl.fpga.lint.finding.Linter`."""
    one = design.of(core, variant)
    lines = [*script.reading(one), f"hierarchy -check -top {one.top}", "proc", "check"]
    return [program, "-Q", "-T", "-p", "\n".join(lines)]


def read(output: str, core: Core) -> list[Finding]:
    """See `labctl.fpga.lint.finding.Linter`."""
    found = []
    for line in output.splitlines():
        latch, said = _LATCH.match(line), _LINE.match(line)
        if latch:
            at = _PLACE.search(latch["where"])
            text = f"a latch for {latch['signal']}"
            found.append(_finding("warning", "latch", text, at, core))
        elif said:
            text = said["text"]
            at = said if said["file"] else _PLACE.search(text)
            error = said["kind"] == "ERROR"
            rule = next((name for name, pattern in _RULES if pattern.search(text)), "")
            rule = rule or ("error" if error else "other")
            found.append(_finding("error" if error else "warning", rule, text, at, core))
    return found


def _finding(severity: str, rule: str, text: str, at: re.Match[str] | None, core: Core) -> Finding:
    path = place_of(at["file"], core) if at else None
    return Finding(NAME, severity, rule, text, path, int(at["line"]) if at else 0)
