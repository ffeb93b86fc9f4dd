"""Verible's linter: style. The project's own ``.rules.verible_lint`` says which rules count.

Source: ``verible-verilog-lint --help`` (``--rules_config_search``) and its README; Debian has none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from labctl.fpga.lint.finding import Finding, place_of
from labctl.fpga.model import Core, Variant

NAME = "verible"
PROGRAM = "verible-verilog-lint"
VERSION: Sequence[str] = ("--version",)
INSTALL = "a release of github.com/chipsalliance/verible, in PATH"
PER_VARIANT = False
_LINE = re.compile(
    r"^(?P<file>[^:\n]+):(?P<line>\d+):\d+(?:-\d+)?(?::\d+(?:-\d+)?)?: (?P<text>.*?)"
    r"(?: \[Style: [^\]]*\])?(?: \[(?P<rule>[\w-]+)\])?$"
)


def command(core: Core, variant: Variant, program: str) -> list[str]:
    """See `labctl.fpga.lint.finding.Linter`."""
    return [program, "--rules_config_search", *(str(one.absolute()) for one in core.sources)]


def read(output: str, core: Core) -> list[Finding]:
    """See `labctl.fpga.lint.finding.Linter`."""
    found = []
    for line in output.splitlines():
        one = _LINE.match(line)
        if one is not None:
            rule = one["rule"] or "syntax"
            kind = "warning" if one["rule"] else "error"
            place = place_of(one["file"], core)
            found.append(Finding(NAME, kind, rule, one["text"], place, int(one["line"])))
    return found
