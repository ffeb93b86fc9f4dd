"""Everything that was read, as metrics: made at each scrape from what is there, without waiting."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.registry import Collector

from labctl import __version__
from labctl.gpu import metrics as gpu
from labctl.health.formats import prometheus as check
from labctl.health.report import HostReport
from labctl.metrics.jobs import Cards
from labctl.metrics.regular import Regular
from labctl.report.metrics import Collected, Family


class Readings(Collector):
    """The metrics of all hosts.

    Args:
        regular: What reads them.
    """

    def __init__(self, regular: Regular) -> None:
        self._regular = regular

    def collect(self) -> Iterable[Metric]:
        """Return what was last read of each host, with its age."""
        age = Family(
            "labctl_reading_age_seconds",
            "Age of what the host last said; it grows while the host does not answer.",
        )
        count = Family("labctl_readings", "Times that the host was asked.", "counter")
        failed = Family("labctl_reading_failures", "Times that it did not answer.", "counter")
        known = Family(
            "labctl_gpu_bookings_known", "Whether bookings and history are in the states of cards."
        )
        version = Family("labctl_build", "The labctl that serves this.", "info")
        version.add(1.0, version=__version__)
        now = time.time()
        reports, cards = [], []
        for job, seen in self._regular.seen().items():
            about = {"host": job.host, "about": job.about}
            count.add(float(seen.runs), **about)
            failed.add(float(seen.failures), **about)
            if seen.good_at is not None:
                age.add(max(now - seen.good_at, 0.0), **about)
            if isinstance(seen.last, HostReport):
                reports.append(seen.last)
            elif isinstance(seen.last, Cards):
                cards.append(seen.last)
                known.add(0.0 if seen.last.remark else 1.0, host=job.host)
        lines = [line for one in cards for line in one.lines]
        families = [version, age, count, failed, *check.families(reports), known]
        families += gpu.families([one.reading for one in cards], lines)
        return Collected(families).collect()
