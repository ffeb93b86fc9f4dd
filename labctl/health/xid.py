"""NVIDIA's Xid catalogue: what a code means and what NVIDIA says to do (data/xid.yaml)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml


@dataclass(frozen=True)
class XidEntry:
    """One code.

    Attributes:
        title: NVIDIA's description.
        severity: Word of `labctl.health.finding.Severity`.
        passes: It ends with the program that was hit.
        action: What to do.
    """

    title: str
    severity: str
    passes: bool
    action: str


@cache
def _catalogue() -> tuple[dict[str, dict[str, object]], dict[int, tuple[str, str]]]:
    text = resources.files("labctl.health").joinpath("data/xid.yaml").read_text(encoding="utf-8")
    data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return data["actions"], {code: (title, word) for code, (title, word) in data["codes"].items()}


def lookup(code: int) -> XidEntry:
    """Return the catalogue's entry for ``code``; one that says so where the catalogue has none."""
    actions, codes = _catalogue()
    title, word = codes.get(code, ("not in the catalogue that labctl knows", "UNKNOWN"))
    action = actions.get(word, actions["UNKNOWN"])
    return XidEntry(title, str(action["severity"]), bool(action["passes"]), str(action["action"]))
