"""What is asked of hosts for their metrics: the check, and who has which card."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from labctl.gpu.judged import judged
from labctl.gpu.look import look
from labctl.gpu.reading import Reading
from labctl.gpu.show import Line
from labctl.health.remote import remote_targets
from labctl.health.report import HostReport
from labctl.health.rules_file import all_rules
from labctl.health.run import Target, check_all
from labctl.metrics.regular import Job
from labctl.transport.early import EarlyConnections
from labctl.transport.local import LocalSession
from labctl.transport.machines import LOCAL, Machines
from labctl.transport.ssh import Access

CHECK, GPU = "check", "gpu"
ABOUT = (CHECK, GPU)


@dataclass(frozen=True)
class Cards:
    """The cards of one host as they were.

    Attributes:
        remark: Why bookings and history are missing in it, or empty.
    """

    reading: Reading
    lines: tuple[Line, ...]
    remark: str


def jobs(
    machines: Machines, about: tuple[str, ...], *, timeout: float, accept_new: bool
) -> list[Job[object]]:
    """Return the jobs for ``machines``.

    Args:
        machines: The hosts; none of them for this machine.
        about: Which of `ABOUT`.
        timeout: Seconds for one host and question in all.
        accept_new: Accept unknown host keys.

    Raises:
        UsageError: A file of rules is wrong.
    """
    found: list[Job[object]] = []
    if CHECK in about:
        rules = all_rules()
        targets = [Target(LOCAL, LocalSession)]
        if machines.hosts:
            targets = remote_targets(
                machines, early=EarlyConnections(), timeout=timeout, accept_new=accept_new
            )

        def check(target: Target) -> HostReport:
            return next(iter(check_all([target], rules, deadline=timeout, jobs=1)))

        found += [Job(one.host, CHECK, partial(check, one), _reached) for one in targets]
    if GPU in about:
        access = Access(
            decide=lambda name, kind, mark: accept_new, connect_timeout=min(10.0, timeout)
        )
        each = [(host.name, Machines([host], machines.reached)) for host in machines.hosts]
        for name, one in each or [(LOCAL, Machines())]:
            found.append(Job(name, GPU, partial(_look, one, access, timeout), _answered))
    return found


def _look(machine: Machines, access: Access, timeout: float) -> Cards:
    readings = look(machine, access=access, deadline=timeout, jobs=1)
    lines, remark = judged(readings)
    return Cards(readings[0], tuple(lines), remark)


def _reached(report: object) -> bool:
    return isinstance(report, HostReport) and not report.error


def _answered(cards: object) -> bool:
    return isinstance(cards, Cards) and not cards.reading.error
