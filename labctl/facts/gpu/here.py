"""What the script of `collect` prints beside the cards, printed by Python for this machine itself.

The same lines, by the same rules, without starting twenty programs; a test holds both against each
other. It is sent along to hosts, too (`labctl.facts.sent`), so nothing of labctl is imported here.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from labctl.facts.gpu.child import output_of

_PROC = Path("/proc")
_BUS = Path("/sys/bus/pci/devices")
_DEVICE = re.compile(r"/dev/nvidia\d")
_LOG = re.compile(r"NVRM: .*(?:Xid|fallen off)")
_DMESG_S = 5.0
_COMMAND = 200


def people_lines(pids: Iterable[int]) -> str:
    """Return what `people.snippet` prints for ``pids``."""
    uptime = (_PROC / "uptime").read_text().split()[0]
    lines = [f"U {uptime} {os.sysconf('SC_CLK_TCK')}"]
    opened = list(_open_devices())
    lines += [f"O {pid} {device}" for pid, device in opened]
    for pid in sorted({*pids, *(pid for pid, _ in opened)}):
        lines += _process(pid)
    lines += _told_by_engines({*pids, *(pid for pid, _ in opened)})
    lines += [f"N {entry.pw_uid} {entry.pw_name}" for entry in pwd.getpwall()]
    return "\n".join(lines) + "\n"


def _open_devices() -> Iterator[tuple[int, str]]:
    if not any(_DEVICE.match(str(path)) for path in Path("/dev").iterdir()):
        return
    for entry in os.scandir(_PROC):
        if not entry.name.isdigit():
            continue
        found = set()
        with contextlib.suppress(OSError):
            for handle in os.scandir(f"{entry.path}/fd"):
                with contextlib.suppress(OSError):
                    target = os.readlink(handle.path)  # noqa: PTH115 - thousands of them
                    if _DEVICE.match(target):
                        found.add(target)
        yield from ((int(entry.name), device) for device in sorted(found))


def _process(pid: int) -> Iterator[str]:
    folder = _PROC / str(pid)
    if not folder.is_dir():
        yield f"P {pid} gone"
        return
    uid = re.search(r"^Uid:\s*(\d+)", _read(folder / "status"), re.MULTILINE)
    yield f"P {pid} uid {uid.group(1) if uid else ''}"
    yield f"P {pid} login {_read(folder / 'loginuid').strip()}"
    for line in _read(folder / "cgroup").splitlines():
        yield f"P {pid} cgroup {line}"
    stat = _read(folder / "stat").replace("\n", " ").rpartition(") ")[2]
    yield f"P {pid} stat {stat}"
    if not stat.startswith("D"):  # reading it would wait as the process does
        command = _read(folder / "cmdline").replace("\0", " ").replace("\n", " ")
        yield f"P {pid} cmd {command[:_COMMAND]}"


# What an engine is asked for: one line, its parts between tabs, which JSON does not hold; and how
# many seconds it may take.
ENGINE_FORMAT = (
    '{{.Id}}{{"\\t"}}{{.Name}}{{"\\t"}}{{json .Config.Labels}}{{"\\t"}}{{json .HostConfig.Binds}}'
)
ENGINE_S = 5
# As in the script of `people`: kind, what stands in a cgroup, who is asked about all ids at once.
_ENGINES = (
    ("docker", re.compile(r"docker[-/]([0-9a-f]{64})"), ("docker", "inspect", "--format")),
    ("podman", re.compile(r"libpod-([0-9a-f]{64})"), ("podman", "inspect", "--format")),
)
_JOB = re.compile(r"slurm[^/]*/(?:uid_[0-9]+/)?job_([0-9]+)")
_MOST = 50


def _told_by_engines(pids: Iterable[int]) -> Iterator[str]:
    text = "".join(_read(_PROC / str(pid) / "cgroup") for pid in sorted(pids))
    if "docker" not in text and "libpod" not in text and "slurm" not in text:
        return
    for kind, pattern, command in _ENGINES:
        found = sorted(set(pattern.findall(text)))[:_MOST]
        if found:
            yield from _asked(kind, [*command, ENGINE_FORMAT, *found], ENGINE_S)
    for job in sorted(set(_JOB.findall(text)))[:_MOST]:
        yield from _asked("slurm", ["scontrol", "-o", "show", "job", job], ENGINE_S)


def _asked(kind: str, command: list[str], seconds: float) -> Iterator[str]:
    for line in (output_of(command, seconds=seconds) or "").splitlines():
        yield f"C {kind} {line}"


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def bus_lines() -> str:
    """Return what the script prints of the bus: address, vendor and driver of each card."""
    lines = []
    for device in sorted(_BUS.iterdir()) if _BUS.is_dir() else ():
        kind, vendor = _read(device / "class").strip(), _read(device / "vendor").strip()
        if kind.startswith(("0x03", "0x12")) and vendor in ("0x10de", "0x1002", "0xcabc"):
            driver = ""
            with contextlib.suppress(OSError):
                # Path.readlink is not in the Python of old hosts.
                driver = Path(os.readlink(device / "driver")).name  # noqa: PTH115
            lines.append(f"{device.name} {vendor} {driver}\n")
    return "".join(lines)


def log_lines() -> str:
    """Return the lines of the kernel's log that speak of NVIDIA's errors; none if not allowed."""
    text = output_of(["dmesg"], seconds=_DMESG_S) or ""
    return "\n".join([line for line in text.splitlines() if _LOG.search(line)][-200:])
