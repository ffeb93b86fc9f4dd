"""This machine's cards through NVML: in a child with a deadline, so that nothing can hang us.

The child is started before anything else is imported: making facts of what it says needs more
modules than reading it, and both go on at the same time.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from typing import TYPE_CHECKING

from labctl.facts.gpu.nvml_reader import read

if TYPE_CHECKING:
    from labctl.facts.gpu.card import GpuFacts


def usable() -> bool:
    """Tell whether nvidia-ml-py is installed; the child tells, too, and sooner."""
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
        self._end = time.monotonic() + deadline
        self._reading, writing = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            try:
                os.close(self._reading)
                read(lambda text: os.write(writing, text.encode()))
            finally:
                os._exit(0)  # nothing of the parent's (buffers, exit handlers) runs twice
        os.close(writing)

    def result(self) -> GpuFacts:
        """Wait for the child, end it if its time is up, and return the facts."""
        from labctl.facts.gpu.nvml_facts import parse  # noqa: PLC0415 - while the child reads

        pieces, whole = _drain(self._reading, self._end)
        os.close(self._reading)
        if whole:
            os.waitpid(self._child, 0)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)
            # A child that waits in the driver dies when the driver lets it, or never: it is left.
            _reap(self._child, patience_s=0.5)
        return parse(b"".join(pieces).decode(errors="replace"), whole=whole)


def _drain(reading: int, end: float) -> tuple[list[bytes], bool]:
    pieces: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        while (left := end - time.monotonic()) > 0:
            if selector.select(left):
                piece = os.read(reading, 65536)
                if not piece:
                    return pieces, True
                pieces.append(piece)
    return pieces, False


def _reap(child: int, *, patience_s: float) -> None:
    end = time.monotonic() + patience_s
    while os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < end:
        time.sleep(0.01)
