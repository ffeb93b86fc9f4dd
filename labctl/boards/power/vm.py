"""A virtual board: its power is QEMU's monitor.

Source: QEMU Machine Protocol reference: ``stop``, ``cont``, ``system_reset``, ``query-status``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from labctl.boards.keys import Key
from labctl.transport import qmp

KEYS: Mapping[str, Key] = {
    "monitor": Key(Path, "UNIX socket of its machine protocol.", needed=True)
}
# It has no capacitors.
OFF_S = 0.0


def get(config: Mapping[str, object], *, deadline_s: float) -> bool | None:
    """Tell whether its processor runs."""
    answer = qmp.execute(_monitor(config), "query-status", timeout_s=deadline_s)
    return isinstance(answer, dict) and answer.get("status") == "running"


def set(config: Mapping[str, object], on: bool, *, deadline_s: float) -> None:
    """Stop it, or let it begin anew."""
    if not on:
        qmp.execute(_monitor(config), "stop", timeout_s=deadline_s)
    elif not get(config, deadline_s=deadline_s):
        qmp.execute(_monitor(config), "system_reset", timeout_s=deadline_s)
        qmp.execute(_monitor(config), "cont", timeout_s=deadline_s)


def _monitor(config: Mapping[str, object]) -> Path:
    return Path(str(config["monitor"])).expanduser()
