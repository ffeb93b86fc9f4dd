"""A port of a USB hub that can switch its ports, through uhubctl.

Source: uhubctl's README: ``-l`` location, ``-p`` port, ``-a`` action; a port's line reads
``Port 2: 0103 power enable connect`` (USB 2.0 specification, table 11-21: wPortStatus).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping

from labctl.errors import DependencyError, LabctlError
from labctl.report.sanitize import clean_line

KEYS: Mapping[str, tuple[type, bool]] = {"location": (str, True), "port": (int, True)}


def get(config: Mapping[str, object], *, deadline_s: float) -> bool | None:
    """Ask the hub."""
    said = _run(config, [], deadline_s)
    match = re.search(rf"Port {config['port']}: [0-9a-f]{{4}}( .*)?$", said, re.MULTILINE)
    if match is None:
        raise LabctlError(
            f"the hub at {config['location']} shows no port {config['port']}",
            action="run 'uhubctl' to see the hubs that can switch",
        )
    return "power" in (match.group(1) or "").split()


def set(config: Mapping[str, object], on: bool, *, deadline_s: float) -> None:
    """Tell the hub."""
    _run(config, ["-a", "on" if on else "off"], deadline_s)


def _run(config: Mapping[str, object], words: list[str], deadline_s: float) -> str:
    if shutil.which("uhubctl") is None:
        raise DependencyError("uhubctl is not installed", action="sudo apt-get install uhubctl")
    line = ["uhubctl", "-l", str(config["location"]), "-p", str(config["port"]), *words]
    try:
        done = subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=deadline_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LabctlError(f"uhubctl did not end within {deadline_s:.0f} s") from None
    if done.returncode != 0:
        raise LabctlError(f"uhubctl failed: {clean_line(done.stderr or done.stdout)}")
    return done.stdout
