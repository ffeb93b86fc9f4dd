"""A recording of any kind: find out what it is, and read it.

A new source is a module with ``NAME``, ``recognises(text)`` and ``parse(text)``, and a word here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from labctl.facts.gpu.card import GpuFacts

# In this order: a capture holds reports, and a report may stand in a log.
_SOURCES = (
    "exporter",
    "smi_xml",
    "smi_text",
    "cnmon",
    "tegrastats",
    "smi_failure",
    "kernel_log",
    "slurm_reply",
    "rocm",
    "smi_csv",
)


class _Source(Protocol):
    NAME: str

    def recognises(self, text: str) -> bool: ...
    def parse(self, text: str) -> list[GpuFacts]: ...


def decode(raw: bytes) -> str:
    """Return a recording as text: UTF-8, or UTF-16 as PowerShell writes it; no byte is an error."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    return raw.decode("utf-8-sig", errors="replace")


def read_recording(text: str) -> list[GpuFacts] | None:
    """Return the readings in ``text``; None where it is no recording that labctl knows."""
    for name in _SOURCES:
        source = cast(_Source, import_module(f"labctl.facts.gpu.{name}"))
        if source.recognises(text):
            return source.parse(text)
    return None
