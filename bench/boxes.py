"""The machines of the benchmarks: a fleet of the virtual lab that belongs to them alone.

Everything is kept in one folder of the cache (inventory, profiles, journals, the lab's state), so
that a person's own lab and history stay as they are, and so that a run that was killed is found
and cleaned up by the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from processes import Ended, labctl, run

from labctl.fileio import locked, write_atomic
from labctl.inventory.loader import load_inventory
from labctl.inventory.resolve import ResolvedHost, resolve
from labctl.paths import cache_dir

_INVENTORY = "version: 1\ngroups:\n  fleet:\n    profiles: [bench]\nhosts: {}\n"


@dataclass(frozen=True)
class Fleet:
    """The running boxes and the folder where everything about them is.

    Attributes:
        folder: The benchmarks' own folder.
        hosts: How each box is reached, in order.
        start_seconds: How long ``labctl lab fleet`` took.
    """

    folder: Path
    hosts: tuple[ResolvedHost, ...]
    start_seconds: float

    def write_profile(self, text: str, name: str = "bench") -> None:
        """Write the profile ``name``, for `setup` to use."""
        write_atomic(self.folder / "config" / "labctl" / "profiles" / f"{name}.yaml", text)

    def setup(self, *words: str, inventory: Path | None = None) -> Ended:
        """Run ``labctl setup WORDS --yes --json`` as a process."""
        file = str(inventory or self.folder / "inventory.yaml")
        return run([labctl(), "-i", file, "setup", *words, "--yes", "--json"])

    def known_hosts(self) -> Path:
        """Write the boxes' host keys as a known_hosts file (sshd(8)) and return it."""
        path = self.folder / "known_hosts"
        lines = [f"[{h.hostname}]:{h.port} {key}\n" for h in self.hosts for key in h.host_keys]
        path.write_text("".join(lines))
        return path


@contextlib.contextmanager
def own_place() -> Iterator[Path]:
    """Yield the benchmarks' own folder, held against other benchmarks.

    This process, and through it all others, looks for labctl's settings and state there.

    Raises:
        BusyError: Another benchmark runs.
    """
    folder = cache_dir() / "bench"
    (folder / "config" / "labctl" / "profiles").mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    with locked(folder / "lock", what="the benchmarks", wait=False):
        yield folder


@contextlib.contextmanager
def fleet(count: int, *, keep: bool = False) -> Iterator[Fleet]:
    """Start ``count`` light boxes, and stop them at the end.

    Args:
        count: How many.
        keep: Leave them running; the next benchmark goes on with them.

    Raises:
        BusyError: Another benchmark runs.
        LabctlError: The lab cannot start them; says why.
    """
    with own_place() as folder:
        inventory = folder / "inventory.yaml"
        write_atomic(inventory, _INVENTORY)
        command = [labctl(), "-i", str(inventory), "lab"]
        if not keep:
            run([*command, "down"])
        try:
            started = run([*command, "fleet", str(count), "--json"])
            failed = [one for one in json.loads(started.output)["machines"] if one["error"]]
            assert not failed, failed
            loaded = load_inventory(inventory)
            hosts = [resolve(host, loaded) for host in loaded.hosts.values()]
            yield Fleet(folder, tuple(hosts[:count]), started.seconds)
        finally:
            if not keep:
                run([*command, "down"])
