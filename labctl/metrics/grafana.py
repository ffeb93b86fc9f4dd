"""A dashboard for Grafana that shows these metrics."""

from __future__ import annotations

from pathlib import Path


def dashboard() -> str:
    """Return the dashboard as JSON, to be imported in Grafana."""
    return Path(__file__).with_name("grafana.json").read_text(encoding="utf-8")
