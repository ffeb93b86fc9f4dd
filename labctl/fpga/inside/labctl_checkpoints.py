"""Runs inside the simulator: keeps sleeping copies of it, and replays the last of a run that fails.

Every so much processor time the simulation makes a copy of itself (fork(2)) that sleeps; the last
`KEPT` of them are kept. When a test fails, one of them wakes with waves being recorded and goes the
same way again, so that the end of a long run is seen without running all of it a second time.
Nothing is added to the simulation: a copy is made when cocotb has the turn anyway.

A copy is of the memory only. Where a run has more than that (threads, children, pipes, files that
it writes), no copy is made, and labctl runs the test again from its beginning.

Used with cocotb 2.1 (``cocotb.regression``, ``cocotb._event_loop``), which calls `enter` because
``PYGPI_USERS`` names it, after `labctl_inside.enter`.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import functools
import json
import os
import random
import select
import signal
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cocotb.regression import RegressionManager

VARIABLE = "LABCTL_CHECKPOINTS"
FOLDER = "last"
LOG_FILE = "log.txt"
# The last one may be a moment old only; the one before it shows what led to the failure.
KEPT = 2
# A copy costs more where the process is large: at most this share of the time goes to making them.
_SHARE = 0.02
_LONGEST_WAIT_S = 30.0
_PR_SET_PDEATHSIG = 1  # prctl(2)
_DUMP_TOP = "labctl_waves"
_NO_DELAY = 3  # GPI_NO_DELAY in cocotb's gpi.h: now, and not in the next write phase
_QUIET = {signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGVTALRM}
_libc = ctypes.CDLL(None)


@dataclass
class _Copy:
    """A sleeping copy: its process, the pipe that wakes it, and when it was made."""

    pid: int
    wake: int
    cpu_s: float
    sim_ns: float


def enter() -> None:
    """Begin to keep copies, if this job asks for it."""
    text = os.environ.pop(VARIABLE, "")
    if text:
        settings = json.loads(text)
        _Keeper(settings["every_s"], settings["limit_s"], settings["worth_ns"]).begin()


class _Keeper:
    """Makes copies, and wakes one.

    Args:
        every_s: Processor time between two copies.
        limit_s: Wall-clock seconds that the job may take.
        worth_ns: A failure at this simulated time or later is not replayed, as a shorter one has
            been; None for any.
    """

    def __init__(self, every_s: float, limit_s: float, worth_ns: float | None) -> None:
        self._every_s = every_s
        self._deadline = time.monotonic() + limit_s
        self._worth_ns = worth_ns
        self._ring: list[_Copy] = []
        self._folder = Path.cwd()
        self._known = _descriptors()
        self._shared = _shared_memory()
        # Of files that are being read: their descriptors and how far they are read.
        self._places: dict[int, int] = {}
        # In a copy that is awake: how many tests have been counted when the failure comes.
        self._until: int | None = None

    def begin(self) -> None:
        """Hook into cocotb, and start the clock."""
        self._wrap("_record_test_failed", self._failed, first=False)
        self._wrap("_score_test", self._scored, first=False)
        self._wrap("_tear_down", lambda manager: self._finish(), first=True)
        # Python that ends gives signals their first meaning, which is the end of the process.
        atexit.register(self._finish)
        signal.signal(signal.SIGVTALRM, self._due)
        signal.setitimer(signal.ITIMER_VIRTUAL, self._every_s, self._every_s)

    def _wrap(self, name: str, more: Callable[[RegressionManager], None], *, first: bool) -> None:
        """Have ``more`` called before or after a method of cocotb's."""
        from cocotb.regression import RegressionManager  # noqa: PLC0415

        original = getattr(RegressionManager, name)

        @functools.wraps(original)
        def wrapped(manager: RegressionManager, *args: object, **kwargs: object) -> object:
            if first:
                more(manager)
            result: object = original(manager, *args, **kwargs)
            if not first:
                more(manager)
            return result

        setattr(RegressionManager, name, wrapped)

    # -- making copies

    def _due(self, number: int, frame: FrameType | None) -> None:
        """Ask for a copy when cocotb has the turn the next time: now may be anywhere in Python."""
        from cocotb import _event_loop  # noqa: PLC0415

        # Found before the method of the class; costs nothing while no copy is due.
        _event_loop._inst.run = self._at_rest  # type: ignore[method-assign]

    def _at_rest(self) -> None:
        from cocotb import _event_loop, _gpi_triggers  # noqa: PLC0415

        loop = _event_loop._inst
        # A copy could not begin to record there: nothing may change in that phase.
        if not isinstance(_gpi_triggers._current_gpi_trigger, _gpi_triggers.ReadOnly):
            loop.__dict__.pop("run", None)
            # A copy that cannot be made must not hurt the run.
            with contextlib.suppress(OSError):
                self._copy()
        type(loop).run(loop)

    def _copy(self) -> None:
        if self._until is not None or not self._possible():
            return
        began = time.process_time()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        _libc.fflush(None)
        # What is meant for the run is not for its copies; what is pending is lost for them.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _QUIET)
        parent, drawn = os.getpid(), random.getstate()
        hear, wake = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(hear)
            os.close(wake)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            raise
        if pid == 0:
            random.setstate(drawn)  # the module seeds itself anew in every copy
            self._wake_up(_sleep(parent, hear, [wake, *(one.wake for one in self._ring)]), mask)
            return
        os.close(hear)
        self._ring.append(_Copy(pid, wake, time.process_time(), _now_ns()))
        while len(self._ring) > KEPT:
            _end(self._ring.pop(0))
        every = max(self._every_s, (time.process_time() - began) / _SHARE)
        signal.setitimer(signal.ITIMER_VIRTUAL, every, every)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _possible(self) -> bool:
        """Tell whether a copy of the memory is a copy of all that the run has."""
        from cocotb import regression  # noqa: PLC0415

        manager = regression._manager_inst
        if manager._tearing_down or manager._regression_terminated is not None:
            return False
        if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208
            return False
        if _children() - {one.pid for one in self._ring} or _shared_memory() != self._shared:
            return False
        self._places = {}
        ours = {one.wake for one in self._ring}
        for number, what in _descriptors().items():
            if number in ours or self._known.get(number) == what:
                continue
            # Copies share with us how far a file is read or written: they can put it right only
            # where it is read.
            if not what[2] or what[3] != os.O_RDONLY:
                return False
            self._places[number] = os.lseek(number, 0, os.SEEK_CUR)
        return True

    # -- in a copy

    def _wake_up(self, order: dict[str, Any], mask: set[int | signal.Signals]) -> None:
        self._ring = []
        self._until = order["count"]
        os.environ["LABCTL_QUICK"] = "0"  # the simulator has waves to end
        faulthandler.unregister(signal.SIGUSR1)
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGVTALRM):
            signal.signal(number, signal.SIG_IGN)
        os.chdir(order["folder"])
        log = os.open(LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        for descriptor, place in self._places.items():
            again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
            os.lseek(again, place, os.SEEK_SET)
            os.dup2(again, descriptor)
            os.close(again)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _record()

    # -- when a test has ended

    def _scored(self, manager: RegressionManager) -> None:
        if self._until is not None and manager.count >= self._until:
            manager._test_queue.clear()  # the failure has come: cocotb ends the simulation

    def _failed(self, manager: RegressionManager) -> None:
        if self._until is not None or not self._ring:
            return
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        # What fails after this one fails in a design that may be upset by it.
        try:
            if self._worth_ns is None or _now_ns() < self._worth_ns:
                self._replay(manager.count)
        except OSError:
            pass  # a full disk: the failure is told without its waves
        finally:
            self._drop()

    def _replay(self, count: int) -> None:
        wait_s = min(_LONGEST_WAIT_S, (self._deadline - time.monotonic()) / 2)
        now = time.process_time()
        old = [one for one in self._ring if now - one.cpu_s > self._every_s / 2]
        chosen = (old or self._ring[:1])[-1]
        place = self._folder / FOLDER
        place.mkdir()
        for entry in os.scandir(self._folder):
            if entry.is_symlink():  # the files that the job found there when it began
                (place / entry.name).symlink_to(Path(entry).readlink())
        order = {"folder": str(place), "count": count}
        ended = os.pidfd_open(chosen.pid)
        try:
            os.write(chosen.wake, json.dumps(order).encode() + b"\n")
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            poll.poll(max(0.0, wait_s) * 1000)
        finally:
            os.close(ended)

    def _finish(self) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, signal.SIG_IGN)
        self._drop()

    def _drop(self) -> None:
        while self._ring:
            _end(self._ring.pop())


def _sleep(parent: int, hear: int, others: list[int]) -> dict[str, Any]:
    """Wait, in a copy, for the order to go on; end where none can come any more."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    for number in others:
        os.close(number)  # or the pipes of other copies would stay open with this one
    text = b""
    while not text.endswith(b"\n"):
        data = os.read(hear, 4096)
        if not data:
            os._exit(0)
        text += data
    os.close(hear)
    order: dict[str, Any] = json.loads(text)
    return order


def _end(copy: _Copy) -> None:
    """End a copy; its process id is surely its own until it is waited for."""
    os.close(copy.wake)
    os.kill(copy.pid, signal.SIGKILL)
    os.waitpid(copy.pid, 0)


def _record() -> None:
    """Make the module that labctl compiles in begin to dump waves."""
    from cocotb import simulator  # noqa: PLC0415

    top = simulator.get_root_handle(_DUMP_TOP)
    go = top.get_handle_by_name("go") if top is not None else None
    if go is None:
        os._exit(1)  # compiled by somebody else: the failure has no waves from here
    go.set_signal_val_int(_NO_DELAY, 1)


def _now_ns() -> float:
    from cocotb.simtime import get_sim_time  # noqa: PLC0415

    return float(get_sim_time("ns"))


def _descriptors() -> dict[int, tuple[int, int, bool, int]]:
    """Return what is open: device and inode of each, whether it is a file, and how it is open."""
    import fcntl  # noqa: PLC0415

    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        number = int(name)
        with contextlib.suppress(OSError):  # that of the folder itself is closed again
            what = os.fstat(number)
            way = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
            found[number] = (what.st_dev, what.st_ino, stat.S_ISREG(what.st_mode), way)
    return found


def _children() -> set[int]:
    try:
        # Where the kernel was built without it (CONFIG_PROC_CHILDREN), their pipes tell of most.
        return {int(one) for one in Path("/proc/thread-self/children").read_text().split()}
    except OSError:
        return set()


def _shared_memory() -> int:
    """Return how many areas of memory are shared with others for writing (proc(5), maps)."""
    try:
        return Path("/proc/self/maps").read_text(errors="replace").count(" rw-s ")
    except OSError:
        return 0
