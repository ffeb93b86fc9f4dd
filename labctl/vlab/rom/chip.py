"""Simulated chips as data: ``chips/<name>.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labctl.errors import UsageError
from labctl.inventory.diagnostics import did_you_mean

_FOLDER = Path(__file__).parent / "chips"


def chips() -> list[str]:
    """Return the names of the chips there are."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_chip(name: str) -> Mapping[str, Any]:
    """Return what is known of a chip.

    Raises:
        UsageError: There is no such chip.
    """
    import yaml  # noqa: PLC0415 - slow, and only needed to start a board

    known = chips()
    if name not in known:
        raise UsageError(
            f"there is no such chip{did_you_mean(name, known)}",
            thing=name, action=f"use one of {', '.join(known)}",
        )  # fmt: skip
    data: Mapping[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text("utf-8"))
    return data
