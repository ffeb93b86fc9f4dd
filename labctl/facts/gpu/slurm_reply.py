"""What slurmrestd answers about nodes and jobs: which cards a node has; nothing of how they are.

Slurm knows what it lent and not what runs, so such a card's state is not known from this alone.
Source: Slurm REST API (``/slurm/v0.0.x/nodes``, ``/jobs``), gres.conf(5) for the form of ``gres``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from labctl.facts.gpu.card import Card, GpuFacts, make_card
from labctl.facts.value import Known, absent

NAME = "slurm"

# gpu:MODEL:COUNT(S:SOCKETS), gpu:COUNT; several joined by commas
_GRES = re.compile(r"\bgpu(?::([A-Za-z][\w.-]*))?:(\d{1,4})\b")


def recognises(text: str) -> bool:
    """Tell whether ``text`` is such an answer."""
    return _load(text) is not None


def parse(text: str) -> list[GpuFacts]:
    """Return a reading for each node; one without cards for an answer about jobs."""
    data = _load(text) or {}
    nodes = data.get("nodes")
    if not isinstance(nodes, list):
        note = "an answer of Slurm about jobs tells of no card"
        return [GpuFacts(NAME, notes=(note,))]
    return [_node(node) for node in nodes if isinstance(node, Mapping)] or [GpuFacts(NAME)]


def _load(text: str) -> Mapping[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or "errors" not in data:
        return None
    listed = data.get("nodes", data.get("jobs"))
    mark = "hostname" if "nodes" in data else "job_id"
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        return None
    return data if all(mark in one for one in listed) else None


def _node(node: Mapping[str, Any]) -> GpuFacts:
    cards = tuple(_cards(str(node.get("gres") or "")))
    used = str(node.get("gres_used") or "")
    notes = (f"Slurm has lent: {used}",) if cards and used else ()
    if not cards:
        notes = ("Slurm lends no card of this node",)
    return GpuFacts(NAME, label=str(node.get("name") or node["hostname"]), cards=cards, notes=notes)


def _cards(gres: str) -> Iterator[Card]:
    index = 0
    for model, count in _GRES.findall(gres):
        for _ in range(int(count)):
            yield make_card(
                {
                    "index": Known(index),
                    "name": Known(model) if model else absent("Slurm does not name it"),
                }
            )
            index += 1
