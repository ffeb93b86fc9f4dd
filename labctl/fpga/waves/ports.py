"""Ports of a module, read from its source: recordings of Icarus Verilog do not tell of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

# IEEE 1364-2005, 3.3, 12.3; enough to find names, and what is not understood is no port.
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_PORT = re.compile(
    r"\b(?P<way>input|output|inout)\b(?P<kind>(?:\s+(?:wire|reg|logic|tri|signed|unsigned|bit))*)"
    r"\s*(?:\[[^\]]*\]\s*)*(?P<names>[A-Za-z_][\w$]*(?:\s*,\s*(?!input\b|output\b|inout\b)"
    r"[A-Za-z_][\w$]*(?!\s*[\w$]))*)"
)
_MAX_BYTES = 4 * 1024 * 1024


def ports_of(sources: Iterable[Path], top: str) -> dict[str, str]:
    """Return the ports of the module ``top`` and their directions, in the order of the source."""
    head = re.compile(rf"\bmodule\s+{re.escape(top)}\b(.*?)\bendmodule\b", re.DOTALL)
    for source in sources:
        try:
            with source.open("rb") as stream:
                text = stream.read(_MAX_BYTES).decode(errors="replace")
        except OSError:
            continue
        found = head.search(_COMMENT.sub(" ", text))
        if found:
            return {
                name.strip(): port["way"]
                for port in _PORT.finditer(found[1])
                for name in port["names"].split(",")
            }
    return {}
