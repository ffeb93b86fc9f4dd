"""Why a simulation does not end: read from what it says of itself when it is asked.

It is asked several times by a signal (`labctl.fpga.inside.labctl_inside`). The signal handler in C
always answers, with the Python stack if there is one. The handler in Python answers with the
simulated time, if Python runs at all; in a loop of the design it runs only when the simulator is
told to end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labctl.report.sanitize import clean_line

# faulthandler's format, since Python 3.3.
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)$', re.MULTILINE)
# Not of the person who wrote the test.
_MACHINERY = ("/cocotb/", "/cocotb_tools/", "/pygpi/", "labctl_inside.py", "/asyncio/", "/_pytest/")


@dataclass(frozen=True)
class Hang:
    """Why it was ended.

    Attributes:
        kind: ``python``, ``hdl``, ``delta``, ``slow``, ``silent``, ``output``, or ``lost``: it did
            not end in our sight at all.
        text: One line for people.
    """

    kind: str
    text: str


def verdict(before: str, after: str, limit_s: float) -> Hang:
    """Return why a simulation did not end in ``limit_s`` seconds.

    Args:
        before: What it had written when it was told to end.
        after: What it had written when it had ended.
        limit_s: Its limit, wall-clock seconds.
    """
    head = f"still running after {limit_s:g} s"
    samples, late = _samples(before), _samples(after)
    if len(samples) >= 2:
        return _python_runs(head, samples)
    frames = [f"{one['file']}:{one['line']} in {one['name']}" for one in _FRAME.finditer(before)]
    own = _own(frames)
    if own:
        # Python is in a call that does not return to it: faulthandler has the innermost first.
        return Hang("python", f"{head}: Python does not come out of {clean_line(own[0])}")
    if "no Python frame" in before or samples or frames:
        where = f" at {_ns(late[-1].get('time_ns'))}" if late else ""
        waits = _waits(late)
        return Hang(
            "hdl",
            f"{head}: the design loops without simulated time passing{where}{waits}",
        )
    return Hang("silent", f"{head}, and it did not answer when it was asked where it is")


def _python_runs(head: str, samples: Sequence[dict[str, Any]]) -> Hang:
    first, last = samples[0], samples[-1]
    then, now = first.get("time_ns"), last.get("time_ns")
    if isinstance(then, float | int) and isinstance(now, float | int) and now > then:
        text = f"{head}: simulated time goes on, {_ns(now)} now{_waits(samples)}"
        return Hang("slow", f"{text}; wait for less, or raise 'timeout_s'")
    own = [_own(_texts(one.get("python"))[::-1]) for one in samples]
    if all(own):
        place = clean_line(own[-1][0])
        return Hang("python", f"{head}: Python loops at {place}, {_ns(now)}")
    return Hang("delta", f"{head}: no progress of simulated time at {_ns(now)}{_waits(samples)}")


def _samples(text: str) -> list[dict[str, Any]]:
    found = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                data = json.loads(line)
            except (ValueError, RecursionError):
                continue  # half written
            if isinstance(data, dict):
                found.append(data)
    return found


def _own(frames: Sequence[str]) -> list[str]:
    return [one for one in frames if not any(part in one for part in _MACHINERY)]


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _waits(samples: Sequence[dict[str, Any]]) -> str:
    own = _own(_texts(samples[-1].get("waits"))) if samples else []
    return f"; the test waits at {clean_line(own[-1])}" if own else ""


def _ns(time: object) -> str:
    return f"{time:g} ns" if isinstance(time, float | int) else "an unknown time"
