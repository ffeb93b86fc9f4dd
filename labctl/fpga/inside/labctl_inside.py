"""Runs inside the simulator, before cocotb's regression: limits, triage, and the fork server.

It may be imported by another Python than labctl's own, so it needs the standard library and cocotb
only. cocotb calls `enter` because ``PYGPI_USERS`` names it (cocotb 2.1, ``pygpi.entry``), at the
start of simulation, when nothing of the design has run yet.

One simulator serves many jobs: it imports all that is needed once, then makes one copy of itself
(fork(2)) for each line that it reads from ``LABCTL_REQUESTS``, and tells on ``LABCTL_REPLIES`` how
each copy ended. A copy goes on as a simulator of its own, with fresh state and its own seed.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, TextIO

# prctl(2): the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1
# What a job leaves becomes a child of this process, which can wait for it.
_PR_SET_CHILD_SUBREAPER = 36
STACK_FILE = "stack.txt"
# 1: a copy records nothing, and can leave without being taken apart.
QUICK_VARIABLE = "LABCTL_QUICK"
_kept_open: list[TextIO] = []


class StillRunning(BaseException):
    """Raised in a test that Python does not come out of, so that results and waves are saved.

    No `Exception`: loops that go on whatever happens would go on.
    """


def enter() -> None:
    """Be the job that the environment describes, or serve jobs until there are no more."""
    _keep_skips()
    _old_names()
    if "LABCTL_REQUESTS" in os.environ:
        _serve(int(os.environ.pop("LABCTL_REQUESTS")), int(os.environ.pop("LABCTL_REPLIES")))
    else:
        _begin_job()


def _begin_job() -> None:
    """Take the limits of a job, and be ready to say where it hangs."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    limit = int(os.environ.get("LABCTL_MEMORY_MIB", "0")) * 1024 * 1024
    if limit:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    stack = Path(STACK_FILE).open("w", encoding="utf-8", buffering=1)  # noqa: SIM115 - for life
    _kept_open.append(stack)

    def tell(number: int, frame: FrameType | None) -> None:
        """Say where Python is. This runs only if Python runs at all, unlike faulthandler's part."""
        json.dump({"time_ns": _now_ns(), "python": _lines(frame), "waits": _waits()}, stack)
        stack.write("\n")
        stack.flush()

    _keep_coverage()

    def give_up(number: int, frame: FrameType | None) -> None:
        raise StillRunning("ended by labctl: it ran for longer than it may")

    signal.signal(signal.SIGUSR2, give_up)
    signal.signal(signal.SIGUSR1, tell)
    # It writes from the signal handler itself, then hands the signal on to `tell`.
    faulthandler.register(signal.SIGUSR1, file=stack, chain=True, all_threads=False)


def _now_ns() -> float | None:
    try:
        from cocotb.simtime import get_sim_time  # noqa: PLC0415

        return float(get_sim_time("ns"))
    except Exception:
        return None


def _lines(frame: FrameType | None) -> list[str]:
    return [f"{one.filename}:{one.lineno} in {one.name}" for one in traceback.extract_stack(frame)]


def _waits() -> list[str]:
    """Return where the running test waits: file and line of each coroutine, outermost first."""
    try:
        from cocotb import regression  # noqa: PLC0415

        task = regression._manager_inst._running_test._main_task
        coroutine: Any = task._coro
        found = []
        while coroutine is not None and getattr(coroutine, "cr_frame", None) is not None:
            frame = coroutine.cr_frame
            name = frame.f_code.co_name
            found.append(f"{frame.f_code.co_filename}:{frame.f_lineno} in {name}")
            coroutine = coroutine.cr_await
    except Exception:
        return []
    return found


def _keep_coverage() -> None:
    """Have the bins saved that the testbench counted, however the simulation ends."""
    folder = os.environ.get("LABCTL_FPGA_COVERAGE")
    if not folder:
        return
    from cocotb import _shutdown  # noqa: PLC0415 - what it calls at the end, even after $finish

    place = Path(folder).absolute()
    place.mkdir(exist_ok=True)
    os.environ["LABCTL_FPGA_COVERAGE"] = str(place)

    def save() -> None:
        counting = sys.modules.get("labctl.fpga.tb.coverage")
        if counting is not None:
            counting.save_all()

    _shutdown.register(save)


def _keep_skips() -> None:
    """Make a filter choose tests and no more; cocotb would run those marked to be skipped, too."""
    from cocotb.regression import RegressionManager  # noqa: PLC0415

    RegressionManager.set_mode = lambda self, mode: None  # type: ignore[method-assign]


def _old_names() -> None:
    """Let files of other people be imported that know cocotb 1, or how to start a simulation."""
    import cocotb  # noqa: PLC0415

    if not hasattr(cocotb, "SIM_NAME"):
        from cocotb import simulator  # noqa: PLC0415

        cocotb.SIM_NAME = simulator.get_simulator_product()
    # Where cocotb-test is not installed; last, so that it counts where it is.
    sys.path.append(str(Path(__file__).parent / "fallback"))
    sys.modules.setdefault("cocotb.runner", _Runner("cocotb.runner"))  # as in cocotb 1.8


class _Runner(ModuleType):
    """``cocotb_tools.runner``, imported when it is used, which is never inside a simulation."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module("cocotb_tools.runner"), name)


def _serve(requests: int, replies: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    answer = os.fdopen(replies, "w", encoding="utf-8", buffering=1)
    atexit.register(_leave)  # before those of the tests, so that it is called after them
    _import_all()
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    if threads > 1:
        # A copy would have one of them only, and locks that nobody frees.
        reply = {"refused": f"{threads} threads run after the tests were imported"}
        answer.write(json.dumps(reply) + "\n")
        answer.flush()
        os._exit(0)
    gc.collect()
    gc.freeze()  # so that collecting garbage does not copy every page
    answer.write(json.dumps({"ready": os.getpid()}) + "\n")
    libc = ctypes.CDLL(None)
    with os.fdopen(requests, encoding="utf-8") as lines:
        for line in lines:
            job = json.loads(line)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            libc.fflush(None)
            pid = os.fork()
            if pid == 0:
                _become(job, (requests, replies))
                return  # into cocotb, as this job
            answer.write(json.dumps({"started": pid}) + "\n")
            # Take along what it started, while its id is surely its own.
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            _, status, used = os.wait4(pid, 0)
            with contextlib.suppress(ChildProcessError):
                while True:
                    os.waitpid(-pid, 0)  # all of its group were killed
            answer.write(
                json.dumps({"ended": os.waitstatus_to_exitcode(status), "kib": used.ru_maxrss})
                + "\n"
            )
    os._exit(0)


def _leave() -> None:
    """End a copy that has written all it has to write, as soon as Python would clean up.

    To take apart what the server imported costs more than most tests, for it copies every page.
    Not where waves are being written: the simulator ends them later.
    """
    if os.environ.get(QUICK_VARIABLE) == "1":
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        ctypes.CDLL(None).fflush(None)
        os._exit(0)


def _import_all() -> None:
    """Import what every job needs, with pytest's rewriting of assertions as cocotb has it."""
    import cocotb.clock  # noqa: PLC0415
    import cocotb.triggers  # noqa: PLC0415, F401
    from cocotb.regression import RegressionManager  # noqa: PLC0415

    sys.path.insert(0, "")  # as cocotb does before it imports tests
    RegressionManager.setup_pytest_assertion_rewriting()
    for module in os.environ.get("COCOTB_TEST_MODULES", "").split(","):
        try:
            importlib.import_module(module.strip())
        except BaseException:
            # The job meets the same error and says it, in a log of its own.
            sys.modules.pop(module.strip(), None)
            return
    # The hook is in place; each job need not pay for another one.
    os.environ["COCOTB_REWRITE_ASSERTION_FILES"] = ""


def _become(job: dict[str, Any], close: tuple[int, int]) -> None:
    """Be the job: its own session, folder, log and environment."""
    os.setsid()
    os.chdir(job["folder"])
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    # The pipes of the server: a job that kept them would keep the server's end open.
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in close:
        os.dup2(nothing, descriptor)
    os.close(nothing)
    os.environ.update(job["environment"])
    _begin_job()
