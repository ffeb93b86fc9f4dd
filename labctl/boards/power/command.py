"""Any switch that has a command: ``on``, ``off``, and perhaps ``status`` (exit 0: it is on)."""

from __future__ import annotations

from collections.abc import Mapping

from labctl.boards.keys import Key
from labctl.boards.power.programs import run
from labctl.errors import LabctlError
from labctl.report.sanitize import clean_line

KEYS: Mapping[str, Key] = {
    "on": Key(str, "Command for /bin/sh that switches it on; exit code 0 if it did.", needed=True),
    "off": Key(str, "Command for /bin/sh that switches it off; likewise.", needed=True),
    "status": Key(str, "Command for /bin/sh: exit code 0 if it is on, 1 if it is off."),
}


def get(config: Mapping[str, object], *, deadline_s: float) -> bool | None:
    """Run ``status``; 0 is on, 1 is off, anything else is an error."""
    if "status" not in config:
        return None
    code, said = _run(config, "status", deadline_s)
    if code not in (0, 1):
        raise LabctlError(
            f"'status' ended with {code}: {said}", action="let it end with 0 for on, 1 for off"
        )
    return code == 0


def set(config: Mapping[str, object], on: bool, *, deadline_s: float) -> None:
    """Run ``on`` or ``off``."""
    name = "on" if on else "off"
    code, said = _run(config, name, deadline_s)
    if code != 0:
        raise LabctlError(f"'{name}' ended with {code}: {said}", action="run it by hand")


def _run(config: Mapping[str, object], name: str, deadline_s: float) -> tuple[int, str]:
    line = ["/bin/sh", "-c", str(config[name])]
    code, said = run(line, name=f"'{name}'", deadline_s=deadline_s)
    return code, clean_line(said[-500:]) or "it said nothing"
