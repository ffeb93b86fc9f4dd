"""Who holds a port: the programs that have it open, and the lock files that they leave.

Sources: proc_pid_fd(5); Filesystem Hierarchy Standard 3.0, section 5.9 (UUCP lock files: LCK..NAME
with the process id in ten characters of ASCII), which is /run/lock on a system with /run.
"""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

from labctl.report.sanitize import clean_line

LOCK_FOLDER = Path("/run/lock")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Holder:
    """A process that holds a port: its id, and its name where we may know it."""

    pid: int
    program: str = ""

    def __str__(self) -> str:
        """Return it for a message."""
        return f"{self.program} (pid {self.pid})" if self.program else f"process {self.pid}"


def program(pid: int) -> str:
    """Return the name of a process (proc_pid_comm(5)), empty if it has gone."""
    try:
        return clean_line((_PROC / str(pid) / "comm").read_bytes())
    except OSError:
        return ""


def find_holders(device: Path, *, ours: int | None = None) -> list[Holder]:
    """Return the processes that have the character device open, as far as we may see.

    Args:
        device: The device file.
        ours: A descriptor of this process that does not count.
    """
    try:
        number = device.stat().st_rdev
    except OSError:
        return []
    found = []
    for process in os.scandir(_PROC):
        if not process.name.isdigit():
            continue
        pid = int(process.name)
        try:
            descriptors = list(os.scandir(_PROC / process.name / "fd"))
        except OSError:
            continue  # another user's, or gone
        for one in descriptors:
            if pid == os.getpid() and one.name == str(ours):
                continue
            with contextlib.suppress(OSError):
                # By number and not by path: a device may have several files.
                if one.stat().st_rdev == number and os.readlink(one.path).startswith("/dev/"):  # noqa: PTH115 - thousands of them
                    found.append(Holder(pid, program(pid)))
                    break
    return found


def flock_holder(device: Path) -> Holder | None:
    """Return who holds a flock(2) on the device file (proc_locks(5)), if it can be told."""
    try:
        state = device.stat()
        locks = (_PROC / "locks").read_text().splitlines()
    except OSError:
        return None
    file = f"{os.major(state.st_dev):02x}:{os.minor(state.st_dev):02x}:{state.st_ino}"
    for line in locks:
        # "1: FLOCK  ADVISORY  WRITE 4711 00:1a:5 0 EOF"; with "->" those who wait for it
        fields = line.split()
        if fields[1:2] == ["FLOCK"] and fields[5:6] == [file] and int(fields[4]) > 0:
            return Holder(int(fields[4]), program(int(fields[4])))
    return None


class LockFile:
    """The UUCP lock file of a port, for programs that know no other lock (minicom, pppd).

    Args:
        device: The device file, links followed.
        folder: Where lock files are.
    """

    def __init__(self, device: Path, folder: Path = LOCK_FOLDER) -> None:
        name = str(device).removeprefix("/dev/").replace("/", "_")
        self.path = folder / f"LCK..{name}"
        self._held = False

    def acquire(self) -> Holder | None:
        """Take the lock; return who has it if it is taken.

        A lock of a process that has ended is taken over. Where the folder is not ours to write
        to, nothing happens: the port's own locks stay.
        """
        content = f"{os.getpid():10d}\n".encode()
        try:
            descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix="LTMP.")
        except OSError:
            return self._holder()
        try:
            with os.fdopen(descriptor, "wb") as stream:
                os.fchmod(descriptor, 0o644)
                stream.write(content)
            for _ in range(3):
                if self._link(name):
                    return None
                if holder := self._holder():
                    return holder
                self.path.unlink(missing_ok=True)
        except OSError:
            pass  # a stale lock of another user in a sticky folder: it locks nothing
        finally:
            Path(name).unlink(missing_ok=True)
        return None

    def release(self) -> None:
        """Remove the lock if it is ours."""
        if self._held and self._pid() == os.getpid():
            self.path.unlink(missing_ok=True)
        self._held = False

    def _link(self, complete: str) -> bool:
        """Make the file ``complete`` the lock unless there is one; nobody ever reads half of it."""
        try:
            os.link(complete, self.path)
        except FileExistsError:
            return False
        self._held = True
        return True

    def _holder(self) -> Holder | None:
        """Return who holds the lock; None if nobody does, or nobody any more."""
        pid = self._pid()
        if pid is None or pid == os.getpid():
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except OSError:
            pass  # it runs as another user
        return Holder(pid, program(pid))

    def _pid(self) -> int | None:
        try:
            raw = self.path.read_bytes()
        except OSError:
            return None
        # Some old programs wrote the number as an int of the machine.
        text = raw[:11].split()
        if text and text[0].isdigit():
            pid = int(text[0])
        elif len(raw) == 4:
            (pid,) = struct.unpack("=i", raw)
        else:
            return None
        return pid if pid > 0 else None
