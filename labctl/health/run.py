"""Check many machines at once: each on its own, reported as it answers, given up when it does not.

There is no barrier. A machine that hangs (a name that does not resolve, a server that accepts and
says nothing) has its own deadline, kept from outside: its thread is left behind, its report says
so, and nobody has waited for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from labctl.errors import LabctlError, UnreachableError
from labctl.facts.machine.reading import Reading, read, understand
from labctl.facts.sent.bundle import Collector
from labctl.health.judge import judge
from labctl.health.memory import recall, remember
from labctl.health.report import HostReport
from labctl.health.rules_file import Rule
from labctl.transport.session import ScriptCancelledError, Session

# What a machine may take beyond its deadline, to say by itself that the time is up.
_GRACE_S = 1.0


@dataclass(frozen=True)
class Target:
    """One machine to check.

    Attributes:
        host: Its name.
        connect: Opens a session to it; raises LabctlError where that fails.
    """

    host: str
    connect: Callable[[], Session]


def check_all(
    targets: Sequence[Target],
    rules: Sequence[Rule],
    *,
    deadline: float,
    jobs: int,
    collector: Collector = Collector.AUTO,
) -> Iterator[HostReport]:
    """Yield the report of each machine as soon as it is there.

    Args:
        targets: The machines.
        rules: What to hold against their facts.
        deadline: Seconds for each, from its first packet to its last.
        jobs: How many at once. One that is given up makes room for another.
        collector: Who collects the facts there.
    """
    done: SimpleQueue[HostReport] = SimpleQueue()
    stop = threading.Event()
    waiting = list(reversed(targets))
    running: dict[str, float] = {}

    def start() -> None:
        target = waiting.pop()
        running[target.host] = time.monotonic() + deadline + _GRACE_S
        threading.Thread(
            target=lambda: done.put(_check(target, rules, deadline, stop, collector)),
            name=f"check {target.host}",
            daemon=True,
        ).start()

    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                start()
            try:
                left = min(running.values()) - time.monotonic()
                report = done.get(timeout=max(left, 0.0))
            except Empty:
                for host in [host for host, end in running.items() if end <= time.monotonic()]:
                    del running[host]
                    yield _not_reached(host, f"{host}: no answer within {deadline:g} s", deadline)
                continue
            if running.pop(report.host, None) is not None:
                yield report
    finally:
        stop.set()


def _check(
    target: Target,
    rules: Sequence[Rule],
    deadline: float,
    stop: threading.Event,
    collector: Collector,
) -> HostReport:
    begun = time.monotonic()
    try:
        session = target.connect()
        try:
            left = deadline - (time.monotonic() - begun)
            if left <= 0:
                raise UnreachableError(f"no answer within {deadline:g} s", thing=target.host)
            reading = read(session, deadline=left, cancelled=stop.is_set, collector=collector)
        finally:
            session.close()
    except ScriptCancelledError:
        return _not_reached(target.host, f"{target.host}: called off", 0.0)
    except LabctlError as error:
        return _not_reached(target.host, str(error), time.monotonic() - begun)
    except Exception as error:
        # A defect met by one odd machine must not hide the others.
        what = f"{target.host}: {type(error).__name__}: {error}"
        return _not_reached(target.host, what, time.monotonic() - begun)
    report = judged(target.host, reading, rules, seconds=time.monotonic() - begun)
    remember(report)
    return report


def judged(
    host: str, reading: Reading, rules: Sequence[Rule], *, seconds: float = 0.0
) -> HostReport:
    """Return the report of a machine that said ``reading``."""
    machine = understand(reading)
    verdict = judge(machine.parts, rules)
    return HostReport(
        host, reading.at, verdict=verdict, machine=machine, reading=reading, seconds=seconds
    )


def _not_reached(host: str, error: str, seconds: float) -> HostReport:
    return HostReport(host, time.time(), error=error, last=recall(host), seconds=seconds)
