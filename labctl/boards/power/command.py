"""Any switch that has a command: ``on``, ``off``, and perhaps ``status`` (exit 0: it is on)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping

from labctl.errors import LabctlError
from labctl.report.sanitize import clean_line

KEYS: Mapping[str, tuple[type, bool]] = {
    "on": (str, True),
    "off": (str, True),
    "status": (str, False),
}


def get(config: Mapping[str, object], *, deadline_s: float) -> bool | None:
    """Run ``status``; 0 is on, 1 is off, anything else is an error."""
    if "status" not in config:
        return None
    code, said = _run(str(config["status"]), deadline_s)
    if code not in (0, 1):
        raise LabctlError(f"'status' ended with {code}: {said}", action="0 is on, 1 is off")
    return code == 0


def set(config: Mapping[str, object], on: bool, *, deadline_s: float) -> None:
    """Run ``on`` or ``off``."""
    name = "on" if on else "off"
    code, said = _run(str(config[name]), deadline_s)
    if code != 0:
        raise LabctlError(f"'{name}' ended with {code}: {said}", action="run it by hand")


def _run(command: str, deadline_s: float) -> tuple[int, str]:
    process = subprocess.Popen(
        ["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        # With all that it started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise LabctlError(
            f"'{command}' did not end within {deadline_s:.0f} s", action="run it by hand"
        ) from None
    return process.returncode, clean_line(output[-500:])
