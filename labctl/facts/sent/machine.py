"""Facts about the machine from psutil, in the JSON form of `labctl.facts.value`.

Each function gives the fields of the dataclass of its probe (`labctl.facts.machine`); a test holds
both against what the shell says on the same machine. Sources: psutil's documentation; the kernel's
psi.rst, sysfs-class-net; proc_pid_mounts(5), statvfs(3).
"""

from __future__ import annotations

import os
import re
from typing import Any

from labctl.facts.sent.child import Child

# A file system that needs a server may never answer; each is asked by a child of its own.
_SERVED = re.compile(r"nfs\d*|cifs|smb\w*|fuse.*|9p|ceph|lustre|glusterfs|afs|gpfs|beegfs.*")
# Those that hold no files of people, as the shell skips them too.
_SKIPPED = re.compile(
    r"autofs|binfmt_misc|bpf|cgroup.*|configfs|debugfs|devpts|efivarfs|fusectl|mqueue|nsfs|proc|"
    r"pstore|securityfs|sysfs|tracefs|squashfs"
)
_SERVED_S, _OWN_S = 3.0, 10.0
_LIMITS = (40.0, 130.0)


def known(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the fact that has this value."""
    return {"value": value}


def unknown(reason: str, words: str) -> dict[str, Any]:
    """Return the fact that has none, and why."""
    return {"unknown": reason, "words": words}


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:  # noqa: PTH123
            return stream.read()
    except OSError:
        return None


def memory(psutil: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the facts of the probe ``memory``."""
    now, swap = psutil.virtual_memory(), psutil.swap_memory()
    kills = re.search(r"^oom_kill (\d+)$", _read("/proc/vmstat") or "", re.MULTILINE)
    none = unknown("absent", "there is none")
    return {
        "total": known(now.total),
        "available": known(now.available),
        "available_share": known(now.available / now.total) if now.total else none,
        "swap_total": known(swap.total),
        "swap_used_share": known(1 - swap.free / swap.total) if swap.total else none,
        "oom_kills": known(int(kills.group(1)))
        if kills
        else unknown("absent", "no oom_kill in /proc/vmstat"),
    }


def load(psutil: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the facts of the probe ``load``."""
    one, _, fifteen = psutil.getloadavg()
    return {
        "load1": known(one),
        "load15": known(fifteen),
        "cpus": known(psutil.cpu_count()),
        "cpu_some": _pressure("cpu", "some"),
        "memory_full": _pressure("memory", "full"),
        "io_full": _pressure("io", "full"),
    }


def _pressure(what: str, kind: str) -> dict[str, Any]:
    path = f"/proc/pressure/{what}"
    if not os.path.exists(path):  # noqa: PTH110
        return unknown("not_supported", "this kernel does not measure pressure")
    text = _read(path)
    if text is None:
        return unknown("not_supported", "pressure is switched off")
    found = re.search(rf"^{kind} .*\bavg60=([\d.]+)", text, re.MULTILINE)
    if not found:
        return unknown("not_supported", f"no line '{kind}'")
    return known(float(found.group(1)) / 100)


def network(psutil: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the facts of the probe ``network``."""
    counters = psutil.net_io_counters(pernic=True)
    stats = psutil.net_if_stats()
    found = []
    for name in sorted(stats):
        if not os.path.exists(f"/sys/class/net/{name}/device"):  # noqa: PTH110
            continue
        one, count = stats[name], counters.get(name)
        full = {psutil.NIC_DUPLEX_FULL: True, psutil.NIC_DUPLEX_HALF: False}.get(one.duplex)
        gone = unknown("absent", "it counts no packets")
        packets = count.packets_recv + count.packets_sent if count else 0
        errors = count.errin + count.errout if count else 0
        found.append(
            {
                "name": name,
                "state": (_read(f"/sys/class/net/{name}/operstate") or "unknown").strip(),
                "speed_mbit": known(one.speed)
                if one.speed > 0
                else unknown("not_supported", "it tells no speed"),
                "full_duplex": unknown("absent", "it tells no duplex")
                if full is None
                else known(full),
                "packets": known(packets) if count else gone,
                "errors": known(errors) if count else gone,
                "error_share": known(errors / packets)
                if packets
                else unknown("absent", "no packets yet"),
            }
        )
    return {"interfaces": known(found), "default_route": known(_default_route())}


def _default_route() -> bool:
    for line in (_read("/proc/net/route") or "").splitlines():
        words = line.split()
        if len(words) >= 8 and words[1] == words[7] == "00000000":
            return True
    for line in (_read("/proc/net/ipv6_route") or "").splitlines():
        words = line.split()
        if len(words) == 10 and words[0] == "0" * 32 and words[1] == "00" and words[9] != "lo":
            return True
    return False


def sensors(psutil: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the facts of the probe ``sensors``."""
    found = []
    # On a machine that measures nothing some versions have no such function.
    read = getattr(psutil, "sensors_temperatures", dict)
    for chip, entries in read().items():
        for one in entries:
            limited = one.critical is not None and _LIMITS[0] <= one.critical <= _LIMITS[1]
            found.append(
                {
                    "name": f"{chip} {one.label}".strip(),
                    "celsius": known(float(one.current)),
                    "critical": known(float(one.critical))
                    if limited
                    else unknown("absent", "it knows no limit"),
                }
            )
    none = unknown("absent", "nothing measures temperatures")
    return {"temperatures": known(found) if found else none}


def users(psutil: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the facts of the probe ``users``."""
    names = [one.name for one in psutil.users()]
    return {"names": known(sorted(set(names))), "sessions": known(len(names))}


PROBES = {"load": load, "memory": memory, "network": network, "sensors": sensors, "users": users}


def disks() -> str:
    """Return what the snippet of the probe ``disks`` prints, with all that may hang asked at once.

    The shell asks one after the other: ten dead servers cost it ten times as long.
    """
    table = _read("/proc/self/mounts") or ""
    asked: list[tuple[str, Child]] = []
    own: list[str] = []
    for line in table.splitlines():
        words = line.split(" ")
        if len(words) < 4 or _SKIPPED.fullmatch(words[2]):
            continue
        path = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), words[1])
        if words[2] == "overlay" and path != "/":
            continue
        if _SERVED.fullmatch(words[2]):
            asked.append((path, Child(_asking([path]), _SERVED_S)))
        else:
            own.append(path)
    lines = [Child(_asking(own), _OWN_S).result()[0]]
    for path, child in asked:
        text, whole = child.result()
        lines.append(text if whole else f"0 0 0 0 0 0 {path}\n")
    fstab = _read("/etc/fstab")
    return (
        f"[mounts]\n{table}\n[mounts=0]\n[fstab]\n{fstab or ''}\n"
        f"[fstab={127 if fstab is None else 0}]\n[stat]\n{''.join(lines)}\n[stat=0]\n"
    )


def _asking(paths: list[str]) -> Any:  # noqa: ANN401
    """Return work that writes a line of numbers for each of ``paths``, as ``stat -f`` does."""

    def work(write: Any) -> None:  # noqa: ANN401
        for path in paths:
            try:
                found = os.statvfs(path)
            except OSError:
                continue
            numbers = (found.f_frsize, found.f_blocks, found.f_bfree, found.f_bavail,
                       found.f_files, found.f_ffree)  # fmt: skip
            write(" ".join(map(str, numbers)) + f" {path}\n")

    return work
