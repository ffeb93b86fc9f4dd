"""Ways to run jobs: one simulator for each, or one that serves many."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labctl.fpga.engines.base import Engine
    from labctl.fpga.toolchain import Toolchain


def engine_named(name: str) -> Callable[[Toolchain, threading.Event], Engine]:
    """Return what makes an engine of the kind ``name``: ``process``, or else ``fork``."""
    from labctl.fpga.engines.fork_server import ForkEngine  # noqa: PLC0415
    from labctl.fpga.engines.process import ProcessEngine  # noqa: PLC0415

    return ProcessEngine if name == "process" else ForkEngine
