"""The clock: how far it is off from ours, and whether anything keeps it right.

The reader of the script adds a line ``control SENT RECEIVED``: our clock when the script was sent
and when this probe's output was there. The machine looked at its clock between the two, so it is
off by at least what its time lies outside of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from labctl.facts.machine.probe import Probe, Sections
from labctl.facts.value import Fact, Known, Reason, Unknown, absent


@dataclass(frozen=True)
class Clock:
    """The clock.

    Attributes:
        offset_s: Seconds that it is surely ahead of ours (behind: negative); 0 within the
            uncertainty of the measurement.
        uncertainty_s: Seconds between question and answer.
        synchronised: Whether the kernel holds the clock to be kept right by something
            (adjtimex(2), ``STA_UNSYNC``), as a file of systemd-timesyncd or chrony tells.
    """

    offset_s: Fact[float]
    uncertainty_s: Fact[float]
    synchronised: Fact[bool]


def control_line(sent: float, received: float) -> str:
    """Return the line that the reader adds (seconds since the epoch, our clock)."""
    return f"[control]\n{sent:.3f} {received:.3f}\n[control=0]\n"


def parse(text: str) -> Clock:
    """Return the facts in the output of the snippet and the reader's line."""
    found = Sections(text)
    theirs = _numbers(found["now"].text, 1)
    ours = _numbers(found["control"].text, 2)
    offset: Fact[float] = found["now"].trouble("date") or absent("no time to compare with")
    uncertainty: Fact[float] = absent("no time to compare with")
    if theirs and ours:
        sent, received = ours
        now = theirs[0]
        # `date +%s` cuts to whole seconds where it knows no fractions.
        late = now if "." in found["now"].text else now + 1
        offset = Known(now - received if now > received else min(late - sent, 0.0))
        uncertainty = Known(received - sent)
    return Clock(offset, uncertainty, _synchronised(found))


def _numbers(text: str, count: int) -> list[float] | None:
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        return None
    return values if len(values) == count and all(map(math.isfinite, values)) else None


def _synchronised(found: Sections) -> Fact[bool]:
    timesyncd, chrony = found["timesyncd"], found["chrony"]
    if timesyncd.status == 0:
        return Known(True)
    if chrony.status == 0 and chrony.lines:
        # chronyc -c tracking: the last field is the leap status.
        return Known(chrony.lines[0].rpartition(",")[2].strip() != "Not synchronised")
    running = found["running"].text.split()
    if "active" in running:
        return Known(False)
    if found["running"].status is None:
        return Unknown(Reason.LOST, "the answer is cut off")
    return absent("neither systemd-timesyncd nor chrony runs here")


PROBE = Probe(
    "clock",
    """\
printf '[now]\\n'; date +%s.%N | sed 's/[.][^0-9]*$//'; printf '[now=%s]\\n' $?
printf '[timesyncd]\\n'; [ -e /run/systemd/timesync/synchronized ]; printf '[timesyncd=%s]\\n' $?
part chrony 3 chronyc -c tracking
printf '[running]\\n'; [ -d /run/systemd/system ] && systemctl is-active systemd-timesyncd chrony
printf '[running=0]\\n'""",
    parse,
    order=0,
)
