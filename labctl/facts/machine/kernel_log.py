"""What the kernel said: Xid messages of NVIDIA's driver, kills, disk errors, hung tasks, hardware.

Three forms of the time are read: dmesg's seconds since boot, ``dmesg -T``, and ISO 8601 (``dmesg
--time-format iso``, ``journalctl -o short-iso``). Source of the Xid line: NVIDIA, "XID Errors",
https://docs.nvidia.com/deploy/xid-errors/.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from labctl.facts.machine.probe import Probe, Sections
from labctl.facts.value import Fact, Known, Reason, Unknown, parsed

# What is worth sending home of a log that may have a hundred thousand lines; basic grep patterns.
# Everything else in a kernel's log is about how it started.
_WORTH = (
    "NVRM:|nvidia|nouveau|[Oo]ut of memory|oom-kill|oom_reaper|I/O error|EXT4-fs|XFS|BTRFS|"
    "[Rr]emounting|blocked for more than|soft lockup|hard LOCKUP|rcu.*detected stall|"
    "[Mm]achine check|mce:|EDAC|[Tt]hermal|temperature above|AER:|Call Trace|Kernel panic|"
    "kernel BUG|segfault|"
    "link is down|NETDEV WATCHDOG|usb .*disconnect|nvme.*(timeout|reset)|ata.*(error|failed)|"
    "not responding"
)

_ISO = re.compile(r"(?:\w+\s*:\w+\s*:\s*)?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,]\d+)?(\S*)\s+(.*)")
_BOOT = re.compile(r"(?:<\d+>)?\[\s*(\d+\.\d+)\]\s?(.*)")
_CTIME = re.compile(r"\[(\w{3} \w{3}\s+\d+ \d\d:\d\d:\d\d \d{4})\]\s?(.*)")
_XID = re.compile(r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): (\d+), (.*)")
_LOST = re.compile(
    r"NVRM:.*?(?:PCI:)?([0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}).*?fallen off"
)
_OOM = re.compile(r"Killed process (\d+)[ ,]*(?:UID \d+,?\s*)?(?:\((.*?)\))?")


@dataclass(frozen=True)
class Line:
    """One line of the log.

    Attributes:
        age_s: Seconds since then; unknown where the log does not tell the day.
        text: The message.
    """

    age_s: Fact[float]
    text: str


@dataclass(frozen=True)
class Xid:
    """One kind of Xid message of one card, however often it came.

    Attributes:
        code: Number in NVIDIA's catalogue.
        pci: Address of the card on the bus, as the message has it.
        count: How often it stands in the log.
        age_s: Seconds since the last one.
        text: The last message from the number on: process, and what the driver adds.
    """

    code: int
    pci: str
    count: int
    age_s: Fact[float]
    text: str


@dataclass(frozen=True)
class KernelLog:
    """The kernel's log since boot, or as far back as it is kept.

    Attributes:
        lines: Lines that may tell of trouble, oldest first.
        xids: Xid messages by card and code.
        off_bus: Addresses of cards of which the driver said in words alone, without the number 79,
            that they have fallen off the bus.
        oom_killed: Names of processes that were killed for want of memory, newest last.
        disk_errors: Messages of failed reads and writes, and of file systems with errors.
        hung: Messages of tasks and processors that stand still.
        hardware: Messages of broken memory, processor or bus (machine check, EDAC, AER fatal).
    """

    lines: Fact[Sequence[Line]]
    xids: Fact[Sequence[Xid]]
    off_bus: Fact[Sequence[str]]
    oom_killed: Fact[Sequence[str]]
    disk_errors: Fact[Sequence[str]]
    hung: Fact[Sequence[str]]
    hardware: Fact[Sequence[str]]


_DISK = re.compile(
    r"I/O error|EXT4-fs error|EXT4-fs \(.*\): .*error|XFS.*(?:corruption|error)|BTRFS.*error|"
    r"[Rr]emounting filesystem read-only|nvme.*timeout|ata\d.*failed command"
)
_HUNG = re.compile(
    r"blocked for more than|soft lockup|hard LOCKUP|rcu.*detected stall|not responding"
)
_HARDWARE = re.compile(
    r"[Mm]achine check|mce: \[Hardware Error\]|EDAC.*(?:UE|CE) |AER:.*(?:Fatal|Uncorrected)"
)


def parse(text: str) -> KernelLog:
    """Return the facts in the output of the snippet."""
    found = Sections(text)
    log = found["dmesg"]
    # grep says 1 where nothing matched; the snippet turns that into 0.
    trouble = log.trouble("dmesg")
    if trouble and not log.lines:
        return KernelLog(*[trouble] * 7)
    now = parsed(found["now"].text.partition(" ")[0], float)
    uptime = parsed(found["uptime"].text.partition(" ")[0], float)
    return from_lines(
        log.lines,
        now=now.value if isinstance(now, Known) else None,
        uptime=uptime.value if isinstance(uptime, Known) else None,
    )


def recognises(lines: Sequence[str]) -> bool:
    """Tell whether ``lines`` are a log of the kernel: some begin with a time, or NVRM speaks."""
    return any(
        "NVRM:" in line or any(form.match(line) for form in (_BOOT, _ISO, _CTIME)) for line in lines
    )


def from_lines(
    lines: Sequence[str], *, now: float | None = None, uptime: float | None = None
) -> KernelLog:
    """Return the facts in the lines of a log, for instance a file of somebody else's.

    Args:
        lines: The log.
        now: Seconds since the epoch on its machine when it was read, if known.
        uptime: Seconds since its boot then, if known.
    """
    read = [_line(line, now, uptime) for line in lines if line.strip()]
    texts = [line.text for line in read]

    def those(pattern: re.Pattern[str]) -> Fact[Sequence[str]]:
        return Known(tuple(text for text in texts if pattern.search(text)))

    xids = _xids(read)
    numbered = {xid.pci for xid in xids if xid.code == 79}
    lost = [match.group(1).lower() for text in texts if (match := _LOST.search(text))]
    off_bus = [pci for pci in lost if pci not in numbered]
    kills = [match for text in texts if (match := _OOM.search(text))]
    return KernelLog(
        Known(tuple(read)),
        Known(tuple(xids)),
        Known(tuple(dict.fromkeys(off_bus))),
        Known(tuple(match.group(2) or f"pid {match.group(1)}" for match in kills)),
        those(_DISK),
        those(_HUNG),
        those(_HARDWARE),
    )


def _line(line: str, now: float | None, uptime: float | None) -> Line:
    unknown = Unknown(Reason.ABSENT, "the log has no day, or the clock is not known")
    if match := _BOOT.match(line):
        since = float(match.group(1))
        return Line(Known(max(uptime - since, 0.0)) if uptime is not None else unknown, match[2])
    for pattern, form in ((_ISO, "%Y-%m-%dT%H:%M:%S%z"), (_CTIME, "%a %b %d %H:%M:%S %Y")):
        if match := pattern.match(line):
            zone = (match.group(2).replace(":", "") or "+0000") if pattern is _ISO else ""
            try:
                then = datetime.strptime(match.group(1) + zone, form).timestamp()
            except (ValueError, OverflowError, OSError):
                break
            age: Fact[float] = Known(max(now - then, 0.0)) if now is not None else unknown
            return Line(age, match.group(pattern.groups))
    return Line(unknown, line)


def _xids(lines: Sequence[Line]) -> list[Xid]:
    found: dict[tuple[str, int], Xid] = {}
    for line in lines:
        match = _XID.search(line.text)
        if not match:
            continue
        pci, code, rest = match.group(1).lower(), int(match.group(2)), match.group(3)
        before = found.get((pci, code))
        found[pci, code] = Xid(code, pci, before.count + 1 if before else 1, line.age_s, rest)
    return list(found.values())


# journalctl answers people in the groups adm and systemd-journal where dmesg refuses them.
PROBE = Probe(
    "kernel_log",
    f"""\
printf '[now]\\n'; date +%s; printf '[now=%s]\\n' $?
show uptime /proc/uptime
log() {{ within 10 dmesg 2>&1 && return
within 10 journalctl -k -b -o short-iso --no-pager -q | grep '' || return 1; }}
printf '[dmesg]\\n'
said=$(log); rc=$?
printf '%s\\n' "$said" | if [ $rc -eq 0 ]; then
grep -E '{_WORTH}' | grep -v 'ommand line: '; else tail -n 1; fi | tail -n 2000
printf '\\n[dmesg=%s]\\n' $rc""",
    parse,
    order=60,
)
