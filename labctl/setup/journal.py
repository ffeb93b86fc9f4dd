"""The journal: what each run found and did, on the control machine, before and after each change.

A run is a folder ``setup/runs/RUN`` in the state folder: ``run.json`` says what was asked,
``HOST.jsonl`` what happened to each machine (one JSON object a line, synced before the change it
announces is made), ``lock`` is held while the run goes on. Files are readable by their owner only:
they hold the old content of files that were replaced.
"""

from __future__ import annotations

import base64
import datetime
import fcntl
import json
import os
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from labctl.errors import UsageError
from labctl.fileio import write_atomic
from labctl.paths import make_private, state_dir
from labctl.setup.events import HostResult
from labctl.setup.resource import Change, Resource

FORMAT = 1


def runs_dir() -> Path:
    """Return the folder of all runs."""
    return state_dir() / "setup" / "runs"


@dataclass(frozen=True)
class RunInfo:
    """One run, as far as it is known.

    Attributes:
        id: Its name; sorts by time.
        started: When, ISO 8601 with zone.
        state: ``finished``, ``running``, or ``killed`` (no end, and nobody holds its lock).
        hosts: The machines it was for.
        profiles: Profiles given on the command line, None for those of the inventory.
        settings: Values given by ``--set``.
        results: Result of each machine that was finished with.
    """

    id: str
    started: str
    state: str
    hosts: tuple[str, ...]
    profiles: tuple[str, ...] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def unfinished(self) -> list[str]:
        """Machines that are not as they should be: failed, not reached, or never finished."""
        return [name for name in self.hosts if self.results.get(name, {}).get("status") != "ok"]


class Journal:
    """Writes the journal of one run; threads of several machines may write at once."""

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        profiles: Sequence[str] | None,
        settings: Mapping[str, Any],
    ) -> None:
        now = datetime.datetime.now().astimezone()
        # Milliseconds keep the order of runs that begin within one second.
        number = f"{now.microsecond // 1000:03d}{secrets.token_hex(2)}"
        self.id = f"{now:%Y%m%d-%H%M%S}-{number}"
        self.folder = make_private(runs_dir() / self.id)
        self._lock_file = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        self._files: dict[str, TextIO] = {}
        self._lock = threading.Lock()
        self._results: dict[str, HostResult] = {}
        self._about = {
            "format": FORMAT,
            "id": self.id,
            "started": now.isoformat(timespec="seconds"),
            "hosts": list(hosts),
            "profiles": list(profiles) if profiles is not None else None,
            "settings": dict(settings),
        }
        write_atomic(self.folder / "run.json", json.dumps(self._about, indent=1))

    def before(self, host: str, changes: Sequence[tuple[Resource, Change]]) -> None:
        """Record what is there now and will be changed; returns when it is on the disk."""
        for item, change in changes:
            backup = {
                path: None if content is None else base64.b64encode(content).decode()
                for path, content in change.backup.items()
            }
            self._write(
                host,
                event="before",
                item=item.id,
                wanted=item.model_dump(mode="json"),
                summary=change.summary,
                before=change.before,
                after=change.after,
                backup=backup,
            )
        self._sync(host)

    def after(self, host: str, item: str, status: str, error: str) -> None:
        """Record what became of one item."""
        self._write(host, event="after", item=item, status=status, error=error)

    def done(self, result: HostResult) -> None:
        """Record that a machine is finished with."""
        with self._lock:
            self._results[result.host] = result
        self._write(
            result.host,
            event="done",
            status=result.status,
            error=result.error,
            seconds=round(result.seconds, 3),
            items=[vars(item) | {"diff": ""} for item in result.items],
        )
        self._sync(result.host)

    def close(self) -> None:
        """End the run."""
        results = {
            name: {
                "status": result.status,
                "error": result.error,
                "changed": result.count("changed"),
                "unchanged": result.count("unchanged"),
                "failed": result.count("failed"),
                "seconds": round(result.seconds, 3),
            }
            for name, result in self._results.items()
        }
        write_atomic(
            self.folder / "run.json", json.dumps({**self._about, "results": results}, indent=1)
        )
        for stream in self._files.values():
            stream.close()
        os.close(self._lock_file)

    def _write(self, host: str, **entry: object) -> None:
        stamp = datetime.datetime.now().astimezone().isoformat(timespec="milliseconds")
        line = json.dumps({"time": stamp, **entry}, ensure_ascii=False)
        with self._lock:
            if host not in self._files:
                descriptor = os.open(
                    self.folder / f"{host}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
                )
                self._files[host] = os.fdopen(descriptor, "a")
            self._files[host].write(line + "\n")
            self._files[host].flush()

    def _sync(self, host: str) -> None:
        with self._lock:
            stream = self._files.get(host)
        if stream:
            os.fsync(stream.fileno())


def list_runs() -> list[RunInfo]:
    """Return all runs, the newest first."""
    if not runs_dir().is_dir():
        return []
    found = [info for folder in runs_dir().iterdir() if (info := _read_run(folder))]
    # By time and not by id alone, which repeats an hour when summer time ends.
    return sorted(
        found,
        key=lambda info: (datetime.datetime.fromisoformat(info.started), info.id),
        reverse=True,
    )


def find_run(word: str) -> RunInfo:
    """Return the run whose id starts with ``word``, or the newest for ``last``.

    Raises:
        UsageError: There is none, or several.
    """
    runs = list_runs()
    hits = runs[:1] if word == "last" else [run for run in runs if run.id.startswith(word)]
    if len(hits) == 1:
        return hits[0]
    raise UsageError(
        f"{'several runs start' if hits else 'no run starts'} with '{word}'",
        action="labctl setup --runs lists them",
    )


def read_events(run: RunInfo, host: str) -> Iterator[Mapping[str, Any]]:
    """Yield the journal of one machine in a run; a line that a crash cut short is left out."""
    yield from _entries(runs_dir() / run.id / f"{host}.jsonl")


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole entries of one journal; a run that was killed may leave half a line."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and "event" in entry:
                yield entry


def _read_run(folder: Path) -> RunInfo | None:
    try:
        about = json.loads((folder / "run.json").read_text())
        if about["format"] != FORMAT:
            return None
        results = about.get("results")
        datetime.datetime.fromisoformat(about["started"])  # `list_runs` sorts by it
        return RunInfo(
            id=about["id"],
            started=about["started"],
            state="finished" if results is not None else _unfinished_state(folder),
            hosts=tuple(about["hosts"]),
            profiles=None if about["profiles"] is None else tuple(about["profiles"]),
            settings=about["settings"],
            results=results if results is not None else _results_so_far(folder, about["hosts"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _unfinished_state(folder: Path) -> str:
    try:
        with (folder / "lock").open("r+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "running"
    return "killed"


def _results_so_far(folder: Path, hosts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what the journals of the machines say of a run that has not ended."""
    results: dict[str, dict[str, Any]] = {}
    for host in hosts:
        entries = list(_entries(folder / f"{host}.jsonl"))
        changed = {e["item"] for e in entries if e["event"] == "after" and e["status"] == "changed"}
        done = next((e for e in entries if e["event"] == "done"), None)
        results[host] = {
            "status": done["status"] if done else "killed",
            "error": done["error"] if done else "",
            "changed": len(changed),
        }
    return results
