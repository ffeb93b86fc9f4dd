"""Faults of the scripted boards that a lab runs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from labctl.errors import UnreachableError, UsageError
from labctl.inventory.endpoints import read_board_endpoints
from labctl.vlab.scripted import control
from labctl.vlab.scripted.settings import Settings


@dataclass(frozen=True)
class FaultState:
    """How a scripted board behaves now.

    Attributes:
        settings: Every setting by name.
        armed: What will happen, and after how many more bytes.
        stats: Its state and what it has counted.
    """

    settings: dict[str, object]
    armed: dict[str, int]
    stats: dict[str, object]

    def unusual(self) -> dict[str, object]:
        """Return the settings that are not the defaults."""
        usual = {one.name: one.default for one in fields(Settings)}
        return {name: value for name, value in self.settings.items() if value != usual[name]}


def monitor(inventory: Path, name: str) -> Path:
    """Return the monitor of the scripted board ``name``.

    Raises:
        UnreachableError: It does not run.
        UsageError: It is no scripted board.
    """
    endpoint = read_board_endpoints(inventory).get(name)
    if endpoint is None:
        raise UnreachableError(
            "no such board runs in the lab", thing=name, action=f"labctl lab up {name}"
        )
    if endpoint.kind != "scripted":
        raise UsageError(
            "only a scripted board has faults on demand", thing=name,
            action="start one: labctl lab up scripted",
        )  # fmt: skip
    return Path(endpoint.monitor)


def look(where: Path) -> FaultState:
    """Ask the board whose monitor is ``where``.

    Raises:
        UnreachableError: It does not answer.
    """
    said = control.faults(where)
    return FaultState(said["settings"], said["armed"], control.stats(where))
