"""A Shelly plug or relay.

Source: Shelly API documentation: Gen2 and later ``/rpc/Switch.Set``, ``/rpc/Switch.GetStatus``,
Authentication (Digest with SHA-256, user ``admin``); Gen1 ``/relay/{id}?turn=on``, HTTP Basic.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from labctl.boards.keys import HOST, Key, read_secret
from labctl.boards.power.web import ask
from labctl.errors import LabctlError

KEYS: Mapping[str, Key] = {
    "host": HOST,
    "switch": Key(int, "Number of its switch, from 0, which is the default."),
    "generation": Key(int, "Of the device; 2 stands for all later ones.", choices=(1, 2, 3, 4)),
    "user": Key(str, "Login name; 'admin' if not given."),
    "password_file": Key(Path, "File with its password, if it has one."),
}


def get(config: Mapping[str, object], *, deadline_s: float) -> bool | None:
    """Ask the plug."""
    number = str(config.get("switch", 0))
    if config.get("generation") == 1:
        state = _ask(config, f"/relay/{number}", {}, deadline_s).get("ison")
    else:
        state = _ask(config, "/rpc/Switch.GetStatus", {"id": number}, deadline_s).get("output")
    if not isinstance(state, bool):
        raise LabctlError("the plug does not say whether it is on", action="check 'generation'")
    return state


def set(config: Mapping[str, object], on: bool, *, deadline_s: float) -> None:
    """Tell the plug."""
    number = str(config.get("switch", 0))
    if config.get("generation") == 1:
        _ask(config, f"/relay/{number}", {"turn": "on" if on else "off"}, deadline_s)
    else:
        wanted = {"id": number, "on": "true" if on else "false"}
        _ask(config, "/rpc/Switch.Set", wanted, deadline_s)


def _ask(
    config: Mapping[str, object], path: str, query: dict[str, str], deadline_s: float
) -> dict[str, object]:
    login = None
    if "password_file" in config:
        login = (str(config.get("user", "admin")), read_secret(config, "password_file"))
    return ask(str(config["host"]), path, query, deadline_s=deadline_s, login=login)
