"""Recordings: the raw output of each probe in a file, masked; and how they are played again.

``DIR/HOST/PROBE.txt`` and ``DIR/HOST/reading.json`` (when, how long, why something is missing). A
file by itself is a recording too: what a tool for cards printed (`labctl.facts.gpu.recording`), or
a log of the kernel, as ``dmesg`` or ``journalctl -k`` prints it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from labctl import __version__
from labctl.errors import UsageError
from labctl.facts.gpu import kernel_log as cards_log
from labctl.facts.gpu.recording import decode, read_recording
from labctl.facts.machine import kernel_log, smart
from labctl.facts.machine.gpu import from_facts
from labctl.facts.machine.probe import all_probes
from labctl.facts.machine.reading import Machine, Reading
from labctl.facts.value import Fact, Known, Reason, Unknown, absent
from labctl.fileio import write_atomic
from labctl.health.judge import judge
from labctl.health.mask import Masker
from labctl.health.report import HostReport
from labctl.health.rules_file import Rule
from labctl.health.run import judged

_LARGEST = 64 * 1024 * 1024  # bytes of a file that is read
_META = "reading.json"


def record(reports: Sequence[HostReport], folder: Path) -> list[Path]:
    """Write the raw output of all machines that answered into ``folder``, masked.

    Machines are called ``host1``, ``host2``, ... in the order of ``reports``.

    Returns:
        The folders that were written.

    Raises:
        UsageError: The folder cannot be written, or holds something already.
    """
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(
                "it holds something already", thing=str(folder), action="name a new one"
            )
        for number, report in enumerate(reports, start=1):
            if report.reading is None:
                continue
            place = folder / f"host{number}"
            place.mkdir()
            masked = Masker([report.host]).mask(report.reading.outputs)
            for name, text in masked.items():
                write_atomic(place / f"{name}.txt", text, mode=0o644)
            missing = report.reading.missing
            meta = {
                "labctl": __version__,
                "at": report.reading.at,
                "seconds": report.reading.seconds,
                # The words may name the machine; the reason does not.
                "missing": str(missing.reason) if missing else None,
            }
            write_atomic(place / _META, json.dumps(meta, indent=2) + "\n", mode=0o644)
            written.append(place)
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror}", thing=str(error.filename or folder)
        ) from error
    return written


def replay(path: Path, rules: Sequence[Rule]) -> Iterator[HostReport]:
    """Yield the reports of the machines recorded in ``path``.

    Args:
        path: A folder that `record` wrote, one machine's folder in it, a file, or a folder of
            files, of which those that are no recordings are passed over.
        rules: What to hold against the facts.

    Raises:
        UsageError: There is no recording, or none that we know.
    """
    if path.is_file():
        reports = _replay_file(path, rules)
        if not reports:
            raise UsageError(
                "not a recording that labctl knows",
                thing=str(path),
                action="it reads nvidia-smi -q -x and others, smartctl --json, a kernel's log",
            )
        yield from reports
        return
    places = [path] if (path / _META).is_file() else sorted(path.glob(f"*/{_META}"))
    if not places:
        found = False
        for file in sorted(one for one in path.rglob("*") if one.is_file()):
            for report in _replay_file(file, rules):
                found = True
                yield report
        if not found:
            raise UsageError(
                "no recording is there",
                thing=str(path),
                action="make one: labctl check HOST --record DIR; or name a file",
            )
    for place in places:
        folder = place if place.is_dir() else place.parent
        yield judged(folder.name, _load(folder), rules)


def _load(folder: Path) -> Reading:
    try:
        meta = json.loads(_read(folder / _META))
        at, seconds = float(meta["at"]), float(meta["seconds"])
        missing = Unknown(Reason(meta["missing"]), "as recorded") if meta["missing"] else None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"not what labctl writes: {error}", thing=str(folder / _META)) from error
    outputs = {
        probe.name: _read(file)
        for probe in all_probes()
        if (file := folder / f"{probe.name}.txt").is_file()
    }
    return Reading(at, outputs, missing, seconds)


def _replay_file(path: Path, rules: Sequence[Rule]) -> list[HostReport]:
    """Return the reports of what a tool printed; none where it is nothing that we know."""
    text = decode(_read_bytes(path))
    nothing: Fact[object] = absent("not in this recording")
    parts = dict.fromkeys((probe.name for probe in all_probes()), nothing)
    at = path.stat().st_mtime

    def judged_with(name: str, part: str, facts: object) -> HostReport:
        known = {**parts, part: Known(facts)}
        return HostReport(name, at, verdict=judge(known, rules), machine=Machine(known))

    if smart.recognises(text):
        return [judged_with(path.name, "smart", smart.from_report(text))]
    # A log of the kernel has more in it than its cards.
    readings = [facts for facts in read_recording(text) or [] if facts.source != cards_log.NAME]
    if readings:
        return [
            judged_with(
                f"{path.name} ({facts.label})" if facts.label else path.name,
                "gpu",
                from_facts(facts),
            )
            for facts in readings
        ]
    lines = text.splitlines()
    if not kernel_log.recognises(lines):
        return []
    return [judged_with(path.name, "kernel_log", kernel_log.from_lines(lines))]


def _read(path: Path) -> str:
    return _read_bytes(path).decode("utf-8", errors="replace")


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", thing=str(path)) from error
    if len(data) > _LARGEST:
        raise UsageError("it is larger than 64 MB; no recording is", thing=str(path))
    return data
