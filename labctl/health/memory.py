"""What was found the last time, so that a machine that is gone still has a story, with its age."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from urllib.parse import quote

from labctl.fileio import write_atomic
from labctl.health.finding import Finding, Severity
from labctl.health.report import HostReport, Last
from labctl.paths import make_private, state_dir


def _file(host: str) -> Path:
    return state_dir() / "check" / f"{quote(host, safe='')}.json"


def remember(report: HostReport) -> None:
    """Keep what was found on a machine that answered; a full disk is no reason to say less now."""
    if report.error:
        return
    data = {
        "at": report.at,
        "findings": [
            {
                "rule": one.rule,
                "severity": str(one.severity),
                "subject": one.subject,
                "says": one.says,
                "action": one.action,
            }
            for one in report.verdict.findings
        ],
    }
    path = _file(report.host)
    with contextlib.suppress(OSError):
        make_private(path.parent)
        write_atomic(path, json.dumps(data) + "\n")


def recall(host: str) -> Last | None:
    """Return what was found on ``host`` the last time, or None if nothing is remembered."""
    try:
        data = json.loads(_file(host).read_text(encoding="utf-8"))
        findings = tuple(
            Finding(
                str(one["rule"]),
                Severity[str(one["severity"]).upper()],
                str(one["subject"]),
                str(one["says"]),
                str(one["action"]),
            )
            for one in data["findings"]
        )
        return Last(float(data["at"]), findings)
    except (OSError, ValueError, KeyError, TypeError):
        return None
