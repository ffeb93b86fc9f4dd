"""A plug with Tasmota.

Source: Tasmota documentation, Commands: web requests ``/cm?cmnd=Power1%20On``, answered by
``{"POWER1": "ON"}`` (``POWER`` where there is one relay).
"""

from __future__ import annotations

from collections.abc import Mapping

from labctl.boards.power.web import ask
from labctl.errors import LabctlError

KEYS: Mapping[str, tuple[type, bool]] = {"host": (str, True), "relay": (int, False)}


def get(config: Mapping[str, object], *, deadline_s: float) -> bool | None:
    """Ask the plug."""
    return _command(config, "", deadline_s)


def set(config: Mapping[str, object], on: bool, *, deadline_s: float) -> None:
    """Tell the plug."""
    _command(config, " On" if on else " Off", deadline_s)


def _command(config: Mapping[str, object], argument: str, deadline_s: float) -> bool:
    number = config.get("relay", "")
    query = {"cmnd": f"Power{number}{argument}"}
    answer = ask(str(config["host"]), "/cm", query, deadline_s=deadline_s)
    state = answer.get(f"POWER{number}", answer.get("POWER"))
    if state not in ("ON", "OFF"):
        raise LabctlError("the plug does not say whether it is on", action="check 'relay'")
    return state == "ON"
