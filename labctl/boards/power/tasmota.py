"""A plug with Tasmota.

Source: Tasmota documentation, Commands: web requests ``/cm?cmnd=Power1%20On``, answered by
``{"POWER1": "ON"}`` (``POWER`` where there is one relay), and ``user=`` and ``password=`` in the
query where the plug has a password.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from labctl.boards.keys import HOST, Key, read_secret
from labctl.boards.power.web import ask
from labctl.errors import LabctlError
from labctl.report.sanitize import clean_line

KEYS: Mapping[str, Key] = {
    "host": HOST,
    "relay": Key(int, "Number of its relay, from 1; its only one if not given.", least=1),
    "user": Key(str, "Login name; 'admin' if not given."),
    "password_file": Key(Path, "File with its password, if it has one."),
}


def get(config: Mapping[str, object], *, deadline_s: float) -> bool | None:
    """Ask the plug."""
    return _command(config, "", deadline_s)


def set(config: Mapping[str, object], on: bool, *, deadline_s: float) -> None:
    """Tell the plug."""
    _command(config, " On" if on else " Off", deadline_s)


def _command(config: Mapping[str, object], argument: str, deadline_s: float) -> bool:
    number = config.get("relay", "")
    query = {"cmnd": f"Power{number}{argument}"}
    if "password_file" in config:
        query = {
            "user": str(config.get("user", "admin")),
            "password": read_secret(config, "password_file"),
            **query,
        }
    answer = ask(str(config["host"]), "/cm", query, deadline_s=deadline_s)
    if "WARNING" in answer:  # "Need user=<username>&password=<password>"
        raise LabctlError(
            f"the plug does not let us in: {clean_line(str(answer['WARNING']), limit=120)}",
            action="name a file with its password in 'password_file', or correct that file",
        )
    state = answer.get(f"POWER{number}", answer.get("POWER"))
    if state not in ("ON", "OFF"):
        raise LabctlError("the plug does not say whether it is on", action="check 'relay'")
    return state == "ON"
