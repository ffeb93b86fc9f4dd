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

# Where there is neither psutil nor NVML, Python says nothing that the shell does not.
_OF_USE = """\
use=
for dir in /usr/lib/python3/dist-packages /usr/local/lib/python3*/*-packages \\
/usr/lib*/python3*/site-packages; do [ -d "$dir/psutil" ] && { use=machine; break; }; done
if [ -e /dev/nvidiactl ]; then use="$use cards"; else
for file in /usr/lib/*/libnvidia-ml.so.1 /usr/lib*/libnvidia-ml.so.1 \\
/usr/local/lib*/libnvidia-ml.so.1; do [ -e "$file" ] && { use="$use cards"; break; }; done; fi
"""


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


def start(
    words: str, *, parts: str = "machine cards", collector: Collector, python: str = ""
) -> str:
    """Return shell that runs the file with ``words`` and leaves its exit status in ``$rich``.

    Without it, or where it is of no use, ``$rich`` is 127. `labctl.facts.shell` must be there.

    Args:
        words: The arguments up to the parts, as shell.
        parts: What is wanted; ``cards`` alone is asked only where there is something of NVIDIA's.
        collector: Whether to ask first if it is of use.
        python: Path of the Python that is to run it, where one is known to be right.
    """
    if collector is Collector.SH:
        return "rich=127\n"
    always = python or collector is Collector.PYTHON
    ask = f"use='{parts}'\n" if always else _OF_USE
    if parts == "cards" and not always:
        ask += "case $use in *cards*) use=cards;; *) use=;; esac\n"
    return (
        f"rich=127\n{ask}"
        f"python=$(command -v {python or 'python3'}) || use=\n"
        'if [ "$use" ]; then\n'
        f"(within {ALL_S} \"$python\" - {words} $use) 2>/dev/null <<'LABCTL_END'\n"
        f"{_packed()}LABCTL_END\n"
        "rich=$?\nfi\n"
    )
