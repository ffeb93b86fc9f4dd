"""Read files of rules. Their form is in docs/check.md; mistakes are named with file and rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from labctl.errors import UsageError
from labctl.health.expr import Expression, ExpressionError, compile_expression
from labctl.health.words import Sentence, compile_sentence
from labctl.paths import config_dir

_NEEDED = ("id", "when", "severity", "says", "action")
_KEYS = (*_NEEDED, "over", "subject", "group", "fires", "silent")
# libyaml reads the files ten times as fast, where PyYAML was built with it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        id: Unique word.
        when: It speaks where this is true.
        over: A list of things; the rule is about each of them, called ``it``.
        subject: What a finding is about.
        severity: Sentence that gives a word of `Severity`.
        says: What is the case.
        action: What to do.
        group: Of the rules of one group only the first that speaks does.
        fires: Facts for which it must speak.
        silent: Facts for which it must not.
    """

    id: str
    when: Expression
    severity: Sentence
    says: Sentence
    action: Sentence
    over: Expression | None = None
    subject: Sentence = field(default_factory=lambda: Sentence(()))
    group: str = ""
    fires: Mapping[str, Any] = field(default_factory=dict)
    silent: Mapping[str, Any] = field(default_factory=dict)


def parse_rules(text: str, name: str) -> list[Rule]:
    """Return the rules in ``text``.

    Raises:
        UsageError: It is not a list of rules; names the file ``name`` and the rule.
    """
    try:
        # The safe loader, in C where there is one.
        data = yaml.load(text, Loader=_LOADER)  # noqa: S506
    except yaml.YAMLError as error:
        raise UsageError(f"not YAML: {error}", thing=name) from error
    if not isinstance(data, list):
        raise UsageError("rules are a list", thing=name, action="begin each with '- id:'")
    return [_rule(entry, f"{name}, rule {number}") for number, entry in enumerate(data, start=1)]


def _rule(entry: object, where: str) -> Rule:
    if not isinstance(entry, dict):
        raise UsageError("a rule is a mapping", thing=where)
    if isinstance(entry.get("id"), str):
        where = f"{where} ({entry['id']})"
    for key in _NEEDED:
        if not isinstance(entry.get(key), str):
            raise UsageError(f"'{key}' is missing or no text", thing=where)
    for key in entry:
        if key not in _KEYS:
            raise UsageError(f"there is no key '{key}'", thing=where, action=", ".join(_KEYS))
    try:
        return Rule(
            entry["id"],
            compile_expression(entry["when"]),
            compile_sentence(entry["severity"]),
            compile_sentence(entry["says"]),
            compile_sentence(entry["action"]),
            compile_expression(entry["over"]) if "over" in entry else None,
            compile_sentence(entry.get("subject", "")),
            entry.get("group", ""),
            entry.get("fires", {}),
            entry.get("silent", {}),
        )
    except ExpressionError as error:
        raise UsageError(str(error), thing=where) from error


def _shipped() -> Iterator[tuple[str, str]]:
    folder = resources.files("labctl.health").joinpath("rules")
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".yaml"):
            yield entry.name, entry.read_text(encoding="utf-8")


@cache
def shipped_rules() -> Sequence[Rule]:
    """Return the rules that labctl brings along."""
    return [rule for name, text in _shipped() for rule in parse_rules(text, name)]


def user_rules(folder: Path | None = None) -> Sequence[Rule]:
    """Return the user's own rules, in ``*.yaml`` of ``~/.config/labctl/rules``.

    Raises:
        UsageError: A file is not readable or not right.
    """
    rules: list[Rule] = []
    for path in sorted((folder or config_dir() / "rules").glob("*.yaml")):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot be read: {error}", thing=str(path)) from error
        rules += parse_rules(text, str(path))
    return rules


def all_rules() -> Sequence[Rule]:
    """Return labctl's rules and the user's; one of the user's takes the place of its namesake."""
    own = {rule.id: rule for rule in user_rules()}
    kept = [own.pop(rule.id, rule) for rule in shipped_rules()]
    return [*kept, *own.values()]
