"""The files by which a regression and its elements on other machines speak.

In one folder that all of them see::

    00007.group       tasks of one group, written before its element starts
    00007.log         who runs it, then one line for each task that ended; made by who takes it
    alive             touched by the regression: who finds it old ends, as nobody waits for results
    stop              the regression has ended, or was given up
    started-NAME      the element NAME has started; it does so once

Files are opened anew for each look, which is what makes NFS show what others wrote (close-to-open
consistency, nfs(5)); a name is made with O_EXCL, so that one element at most takes a group.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labctl.fileio import write_atomic
from labctl.fpga.engines.base import Ended, Task
from labctl.fpga.engines.triage import Hang
from labctl.fpga.toolchain import Toolchain

# A regression that has not touched its file for so long has gone without a word.
SILENT_S = 120.0
TOUCH_S = 5.0


@dataclass(frozen=True)
class Group:
    """Runs of one build and one module, which one simulator can serve.

    Attributes:
        tools: The simulator.
        tasks: What is run, by the number that the regression gave it, in this order.
    """

    tools: Toolchain
    tasks: tuple[tuple[int, Task], ...]


@dataclass(frozen=True)
class Line:
    """What came of one task."""

    index: int
    ended: Ended


def group_file(folder: Path, number: int) -> Path:
    """Return the file with the tasks of a group."""
    return folder / f"{number:05d}.group"


def log_file(folder: Path, number: int) -> Path:
    """Return the file in which a group's element tells what came of it."""
    return folder / f"{number:05d}.log"


def write_group(folder: Path, number: int, group: Group) -> None:
    """Write the file of a group."""
    write_atomic(group_file(folder, number), pickle.dumps(group))


def read_group(folder: Path, number: int) -> Group:
    """Return the group ``number``: what `write_group` wrote into a folder that is ours alone."""
    group: Group = pickle.loads(group_file(folder, number).read_bytes())  # noqa: S301
    return group


def groups_in(folder: Path) -> list[int]:
    """Return the numbers of all groups."""
    return sorted(int(path.stem) for path in folder.glob("*.group"))


def _make(path: Path, text: str) -> bool:
    """Make the file ``path``; return whether it is ours and not somebody else's."""
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        return False
    return True


def begin(folder: Path, name: str) -> bool:
    """Tell that the element ``name`` starts; return False if it has before."""
    return _make(folder / f"started-{name}", "")


def take(folder: Path, number: int, name: str, node: str) -> bool:
    """Take the group ``number`` for the element ``name``; return whether it is ours now."""
    return _make(log_file(folder, number), json.dumps({"by": name, "node": node}) + "\n")


def tell(folder: Path, number: int, line: Line) -> None:
    """Add what came of a task to the log of its group."""
    with log_file(folder, number).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"index": line.index, "ended": asdict(line.ended)}) + "\n")


class LogReader:
    """Reads the log of a group as it grows.

    Attributes:
        by: The element that took the group; empty if none has.
        node: The machine of that element.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.by = ""
        self.node = ""

    def new_lines(self) -> Iterator[Line]:
        """Yield what was added since the last call; a line half written comes the next time."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for text in whole.splitlines():
            said = json.loads(text)
            if "by" in said:
                self.by, self.node = str(said["by"]), str(said["node"])
            else:
                yield Line(int(said["index"]), _ended(said["ended"]))


def _ended(said: dict[str, Any]) -> Ended:
    hang = said["hang"]
    return Ended(**{**said, "hang": Hang(**hang) if hang else None})


def touch_alive(folder: Path) -> None:
    """Tell that results are waited for."""
    (folder / "alive").touch()


def stop(folder: Path) -> None:
    """Tell the elements to end."""
    with contextlib.suppress(OSError):
        (folder / "stop").touch()


def wanted(folder: Path, name: str) -> bool:
    """Tell whether somebody still waits for results; asked by the element ``name``.

    Both times are the file server's own, whatever the machines' clocks say.
    """
    if (folder / "stop").exists():
        return False
    own = folder / f"started-{name}"
    try:
        os.utime(own)
        return own.stat().st_mtime - (folder / "alive").stat().st_mtime < SILENT_S
    except FileNotFoundError:
        return False  # the folder was taken away
    except OSError:
        return True  # a server that does not answer just now


def wait_for(folder: Path, seconds: float) -> bool:
    """Wait at most ``seconds`` until the folder shows up here; return whether it has."""
    deadline = time.monotonic() + seconds
    while not (folder / "alive").exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
