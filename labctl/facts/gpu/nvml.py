"""This machine's cards through NVML: in a child with a deadline, so that nothing can hang us.

The child is started before anything else is imported: making facts of what it says needs more
modules than reading it, and both go on at the same time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from labctl.facts.gpu.nvml_reader import read
from labctl.facts.sent.child import Child

if TYPE_CHECKING:
    from labctl.facts.gpu.card import GpuFacts


def usable() -> bool:
    """Tell whether nvidia-ml-py is installed; without it the reader makes do with ctypes."""
    import importlib.util  # noqa: PLC0415 - slow

    return importlib.util.find_spec("pynvml") is not None


def read_local(*, deadline: float) -> GpuFacts:
    """Return the facts of this machine's cards; see `Pending`."""
    return Pending(deadline).result()


class Pending:
    """A reading that is under way. `result` must be called, once.

    It forks: the process must have one thread only when this is made.

    Args:
        deadline: Seconds after which what has not answered counts as timed out.
    """

    def __init__(self, deadline: float) -> None:
        self._child = Child(_read, deadline)

    def result(self) -> GpuFacts:
        """Wait for the child, end it if its time is up, and return the facts."""
        from labctl.facts.gpu.nvml_facts import parse  # noqa: PLC0415 - while the child reads

        text, whole = self._child.result()
        return parse(text, whole=whole)


def _read(tell: Callable[[str], object]) -> None:
    _travel_light()
    read(tell)


def _travel_light() -> None:
    """Leave out what the child, which ends after one reading, has no use for.

    pynvml takes one function from ctypes.util, and calls it on Windows alone; that module imports
    those for archives, temporary files and processes.
    """
    import gc  # noqa: PLC0415 - for the child alone
    from types import ModuleType  # noqa: PLC0415

    gc.disable()
    stub = ModuleType("ctypes.util")
    stub.__dict__["find_library"] = lambda name: None
    sys.modules.setdefault("ctypes.util", stub)
