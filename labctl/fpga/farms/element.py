"""An element: one simulation at a time on one machine of a farm, from groups of a shared folder.

``python -m labctl.fpga.farms.element FOLDER NUMBER NAME`` runs the group NUMBER, and then, for some
time, groups that no other element has taken yet: starting an element costs a scheduler a second or
more. It ends when it is told to, when nobody waits for results any more, or when all is taken.
"""

from __future__ import annotations

import ctypes
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from labctl.fpga.engines.base import Ended, Engine, Task
from labctl.fpga.engines.fork_server import ForkEngine
from labctl.fpga.engines.triage import Hang
from labctl.fpga.engines.watch import Cancelled
from labctl.fpga.farms import groups

# An element gives its place back to the scheduler after so long: others wait, too.
MORE_GROUPS_S = 120.0
# A folder that was just made may take so long to be seen through NFS (acdirmax, nfs(5)).
_SEEN_S = 60.0
_LOOK_S = 1.0
# prctl(2): the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1
NOT_SEEN = 3


def main(folder: Path, number: int, name: str) -> int:
    """Run; return 0, or `NOT_SEEN` where this machine does not see the folder."""
    cancel = threading.Event()

    def end(signal_number: int, frame: FrameType | None) -> None:
        cancel.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    if not groups.wait_for(folder, _SEEN_S):
        sys.stderr.write(f"{socket.gethostname()} does not see {folder}\n")
        return NOT_SEEN
    if not groups.begin(folder, name):
        return 0  # somebody started it again; what it had is given to another one
    threading.Thread(target=_watch, args=(folder, name, cancel), daemon=True).start()
    engine: Engine | None = None
    try:
        for taken in _take(folder, number, name, cancel):
            group = groups.read_group(folder, taken)
            engine = engine or ForkEngine(group.tools, cancel)
            for index, task in group.tasks:
                groups.tell(folder, taken, groups.Line(index, _run(engine, task)))
    except Cancelled:
        pass
    finally:
        if engine is not None:
            engine.close()
    return 0


def _run(engine: Engine, task: Task) -> Ended:
    began = time.monotonic()
    try:
        return engine.run(task)
    except OSError as error:
        return Ended(1, time.monotonic() - began, Hang("lost", f"it could not be run: {error}"))


def _take(folder: Path, number: int, name: str, cancel: threading.Event) -> Iterator[int]:
    """Yield the groups that this element takes: its own, then others in their order."""
    began = time.monotonic()
    node = socket.gethostname()
    known = groups.groups_in(folder)
    for one in [number, *(other for other in known if other != number)]:
        if cancel.is_set() or (one != number and time.monotonic() - began > MORE_GROUPS_S):
            return
        if groups.take(folder, one, name, node):
            yield one


def _watch(folder: Path, name: str, cancel: threading.Event) -> None:
    while not cancel.wait(_LOOK_S):
        if not groups.wanted(folder, name):
            cancel.set()


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
