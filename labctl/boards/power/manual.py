"""A person switches it, when asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from labctl.boards.keys import Key
from labctl.errors import LabctlError

KEYS: Mapping[str, Key] = {"where": Key(str, "Where its switch is, for the question.")}
ASKS = True


def get(config: Mapping[str, object], *, deadline_s: float) -> bool | None:
    """Return None: only a person could tell."""
    return None


def set(config: Mapping[str, object], on: bool, *, deadline_s: float) -> None:
    """Ask; a person takes the time that it takes.

    Raises:
        LabctlError: There is nobody to ask.
    """
    ask = cast(Callable[[str], None] | None, config.get("ask"))
    where = f" ({config['where']})" if "where" in config else ""
    if ask is None:
        raise LabctlError(
            f"only a person can switch it{where}, and there is nobody to ask",
            action="run this on a terminal, or give it a switch in 'power:' of the inventory",
        )
    ask(f"Switch it {'on' if on else 'off'}{where}, then press Enter")
