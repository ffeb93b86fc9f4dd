"""A Shelly plug or relay.

Source: Shelly API documentation: Gen2 and later ``/rpc/Switch.Set``, ``/rpc/Switch.GetStatus``;
Gen1 ``/relay/{id}?turn=on``.
"""

from __future__ import annotations

from collections.abc import Mapping

from labctl.boards.power.web import ask
from labctl.errors import LabctlError

KEYS: Mapping[str, tuple[type, bool]] = {
    "host": (str, True),
    "switch": (int, False),
    "generation": (int, False),
}


def get(config: Mapping[str, object], *, deadline_s: float) -> bool | None:
    """Ask the plug."""
    number = str(config.get("switch", 0))
    if config.get("generation", 2) == 1:
        answer = ask(str(config["host"]), f"/relay/{number}", {}, deadline_s=deadline_s)
        state = answer.get("ison")
    else:
        answer = ask(
            str(config["host"]), "/rpc/Switch.GetStatus", {"id": number}, deadline_s=deadline_s
        )
        state = answer.get("output")
    if not isinstance(state, bool):
        raise LabctlError("the plug does not say whether it is on", action="check 'generation'")
    return state


def set(config: Mapping[str, object], on: bool, *, deadline_s: float) -> None:
    """Tell the plug."""
    host, number = str(config["host"]), str(config.get("switch", 0))
    if config.get("generation", 2) == 1:
        turn = {"turn": "on" if on else "off"}
        ask(host, f"/relay/{number}", turn, deadline_s=deadline_s)
    else:
        wanted = {"id": number, "on": "true" if on else "false"}
        ask(host, "/rpc/Switch.Set", wanted, deadline_s=deadline_s)
