"""Metrics for Prometheus: said once, written as its text format or as OpenMetrics.

Sources: Prometheus, "Exposition formats", "Metric and label naming", "Writing exporters"; the
OpenMetrics specification 1.0. The writing itself is prometheus_client's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from prometheus_client import Metric, generate_latest
from prometheus_client.registry import Collector

Kind = Literal["gauge", "counter", "info"]
# What the name of a sample has behind that of its family.
_SUFFIX = {"gauge": "", "counter": "_total", "info": "_info"}


class Family:
    """Samples of one name: a quantity in its base unit, for one thing or many.

    Args:
        name: Its name, with the unit and without ``_total`` or ``_info``, which its kind adds.
        words: What it is, for people.
        kind: ``gauge``: what is so now; ``counter``: only grows; ``info``: words, as labels.
    """

    def __init__(self, name: str, words: str, kind: Kind = "gauge") -> None:
        self._sample = name + _SUFFIX[kind]
        self.metric = Metric(name, words, kind)
        self._known: set[frozenset[tuple[str, str]]] = set()

    def add(self, value: float, **labels: str) -> None:
        """Add a sample; a second one with the same labels is left out, as a series is unique."""
        # A name that is not UTF-8 must not spoil all others.
        whole = {key: text.encode("utf-8", "replace").decode() for key, text in labels.items()}
        series = frozenset(whole.items())
        if series not in self._known:
            self._known.add(series)
            self.metric.add_sample(self._sample, whole, value)


class Collected(Collector):
    """Families as prometheus_client takes them."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return [family.metric for family in self._families]


def text(families: Iterable[Family]) -> str:
    """Return ``families`` in Prometheus' text format 0.0.4."""
    return generate_latest(Collected(families)).decode()
