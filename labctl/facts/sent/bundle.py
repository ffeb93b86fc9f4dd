"""The one file that is sent along, and the shell that starts it where it is of use."""

from __future__ import annotations

from enum import StrEnum
from functools import cache

# In the order in which they are made: each may import those above it.
_MODULES = (
    "labctl.facts.sent.child",
    "labctl.facts.sent.nvml_ctypes",
    "labctl.facts.gpu.nvml_reader",
    "labctl.facts.gpu.child",
    "labctl.facts.gpu.here",
    "labctl.facts.sent.machine",
)
_MAIN = "labctl.facts.sent.main"
# Modules under their own names, so that they import each other as they do here; nothing else of
# labctl is there.
_LOADER = """\
import sys, types
def make(name, text):
    module = sys.modules[name] = types.ModuleType(name)
    parent, _, own = name.rpartition(".")
    if parent not in sys.modules:
        sys.modules[parent] = types.ModuleType(parent)
    setattr(sys.modules[parent], own, module)
    exec(compile(text, "<" + name + ">", "exec"), module.__dict__)
    return module
for name, text in SOURCES[:-1]:
    make(name, text)
sys.exit(make(*SOURCES[-1]).main(sys.argv[1:]))
"""
# What the driver, and then all of it, may take; longer than what single parts are given.
CARDS_S, ALL_S = 20, 35

# What a part needs; where that is not there Python says nothing that the shell does not.
_OF_USE = {
    "machine": """\
use=
for dir in /usr/lib/python3/dist-packages /usr/local/lib/python3*/*-packages \\
/usr/lib*/python3*/site-packages; do [ -d "$dir/psutil" ] && { use=yes; break; }; done
""",
    "cards": """\
use=
for file in /dev/nvidiactl /usr/lib/*/libnvidia-ml.so.1 /usr/lib*/libnvidia-ml.so.1 \\
/usr/local/lib*/libnvidia-ml.so.1; do [ -e "$file" ] && { use=yes; break; }; done
""",
}


class Collector(StrEnum):
    """Who collects facts on a host."""

    AUTO = "auto"
    """Python where it can say more than the shell, and the shell for the rest."""
    SH = "sh"
    PYTHON = "python"
    """Python wherever it is, also where it cannot say more."""


@cache
def source() -> str:
    """Return the file: Python that reads nothing from labctl."""
    texts = [(name, _text(name)) for name in (*_MODULES, _MAIN)]
    return f"SOURCES = {texts!r}\n{_LOADER}"


def _text(name: str) -> str:
    from importlib import resources  # noqa: PLC0415 - slow, and not needed for this machine's cards

    package, _, module = name.rpartition(".")
    return resources.files(package).joinpath(f"{module}.py").read_text(encoding="utf-8")


@cache
def _packed() -> str:
    import base64  # noqa: PLC0415 - as above
    import zlib  # noqa: PLC0415

    data = base64.b64encode(zlib.compress(source().encode(), 9)).decode()
    return (
        "import base64, zlib\n"
        f'exec(zlib.decompress(base64.b64decode("{data}")).decode())\n'  # one line, read as one
    )


def prologue(collector: Collector) -> str:
    """Return shell that defines what `start` needs beside `labctl.facts.shell`: the file, once."""
    if collector is Collector.SH:
        return ""
    return f"labctl_file() {{\ncat <<'LABCTL_END'\n{_packed()}LABCTL_END\n}}\n"


def start(part: str, words: str, *, collector: Collector, python: str = "") -> str:
    """Return shell that runs a part of the file and leaves its exit status in ``$rich``.

    Where the part is of no use there, ``$rich`` is 127. `prologue` must be there.

    Args:
        part: ``machine`` or ``cards`` (`labctl.facts.sent.main`).
        words: The arguments before it, as shell.
        collector: Whether to ask first if it is of use.
        python: Path of the Python that is to run it, where one is known to be right.
    """
    if collector is Collector.SH:
        return "rich=127\n"
    always = python or collector is Collector.PYTHON
    return (
        f"rich=127\n{'use=yes' if always else _OF_USE[part]}\n"
        f"python=$(command -v {python or 'python3'}) || use=\n"
        'if [ "$use" ]; then\n'
        f'labctl_file 2>/dev/null | (within {ALL_S} "$python" - {words} {part}) 2>/dev/null\n'
        "rich=$?\nfi\n"
    )
