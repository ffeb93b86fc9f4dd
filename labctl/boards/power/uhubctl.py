"""A port of a USB hub that can switch its ports, through uhubctl.

Source: uhubctl's README: ``-l`` location, ``-p`` port, ``-a`` action; a port's line reads
``Port 2: 0103 power enable connect``, or ``Port 2: 0000 off`` (USB 2.0 specification, table 11-21:
wPortStatus). A USB 3 hub is two hubs, of which uhubctl switches and shows both.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping

from labctl.boards.keys import Key
from labctl.boards.power.programs import run
from labctl.errors import DependencyError, LabctlError
from labctl.report.sanitize import clean_line

KEYS: Mapping[str, Key] = {
    "location": Key(
        str,
        "Location of the hub as 'uhubctl' shows it, such as 1-1.4.",
        needed=True,
        pattern=r"\d{1,3}(?:-\d{1,3}(?:\.\d{1,3})*)?",
    ),
    "port": Key(int, "Number of its port.", needed=True, least=1),
}


def get(config: Mapping[str, object], *, deadline_s: float) -> bool | None:
    """Ask the hub; on is a port with power on either half of the hub."""
    said = _run(config, [], deadline_s)
    ports = re.findall(rf"Port {config['port']}: [0-9a-f]{{4}}([^\r\n]*)", said)
    if not ports:
        raise LabctlError(
            f"the hub at {config['location']} shows no port {config['port']}",
            action="run 'uhubctl' to see the hubs that can switch",
        )
    return any("power" in words.split() for words in ports)


def set(config: Mapping[str, object], on: bool, *, deadline_s: float) -> None:
    """Tell the hub."""
    _run(config, ["-a", "on" if on else "off"], deadline_s)


def _run(config: Mapping[str, object], words: list[str], deadline_s: float) -> str:
    if shutil.which("uhubctl") is None:
        raise DependencyError("uhubctl is not installed", action="sudo apt-get install uhubctl")
    line = ["uhubctl", "-l", str(config["location"]), "-p", str(config["port"]), *words]
    code, said = run(line, name="uhubctl", deadline_s=deadline_s)
    if code != 0:
        raise LabctlError(
            f"uhubctl ended with {code}: {clean_line(said) or 'it said nothing'}",
            action="run 'uhubctl' to see the hubs that can switch; as root if it may not",
        )
    return said
