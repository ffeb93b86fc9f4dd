"""Hold rules against facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from labctl.facts.value import Fact, Reason, Unknown
from labctl.health.expr import ExpressionError
from labctl.health.finding import Finding, NotJudged, Severity, Verdict
from labctl.health.rules_file import Rule
from labctl.health.xid import lookup

# What is not there, or cannot tell by its nature, is no gap in what we know.
_NO_GAP = (Reason.ABSENT, Reason.NOT_SUPPORTED)


def judge(parts: Mapping[str, Fact[object]], rules: Iterable[Rule]) -> Verdict:
    """Return what ``rules`` say of the facts ``parts`` (by name of probe).

    A rule that is wrong itself (it asks for what no fact has) becomes one that could not be judged
    and says so: it must not hide what the others find.
    """
    names: dict[str, object] = {**parts, "xid": lookup}
    findings: list[Finding] = []
    not_judged: list[NotJudged] = []
    spoken: set[str] = set()
    judged = 0
    for rule in rules:
        if rule.group and rule.group in spoken:
            continue
        judged += 1
        try:
            found, gap = _apply(rule, names)
        except ExpressionError as error:
            not_judged.append(NotJudged(rule.id, "wrong_rule", str(error)))
            continue
        findings += found
        if found and rule.group:
            spoken.add(rule.group)
        if gap is not None:
            not_judged.append(NotJudged(rule.id, str(gap.reason), gap.words))
    findings.sort(key=lambda finding: -finding.severity)
    return Verdict(tuple(findings), tuple(not_judged), judged)


def _apply(rule: Rule, names: Mapping[str, object]) -> tuple[list[Finding], Unknown | None]:
    """Return what ``rule`` finds, and why it could not say of something, if that matters."""
    things: Sequence[object] = [None]
    if rule.over is not None:
        value = rule.over.value(names)
        if isinstance(value, Unknown):
            return [], _gap(value)
        if not isinstance(value, Sequence):
            raise ExpressionError(f"'over: {rule.over.text}' is no list")
        things = value
    found = []
    gap: Unknown | None = None
    for thing in things:
        known = {**names, "it": thing} if rule.over is not None else names
        holds = rule.when.value(known)
        if isinstance(holds, Unknown):
            gap = gap or _gap(holds)
        elif holds:
            found.append(_finding(rule, known))
    return found, gap


def _gap(unknown: Unknown) -> Unknown | None:
    return None if unknown.reason in _NO_GAP else unknown


def _finding(rule: Rule, names: Mapping[str, object]) -> Finding:
    word = rule.severity.fill(names)
    try:
        severity = Severity[word.upper()]
    except KeyError:
        raise ExpressionError(f"'{word}' is no severity") from None
    return Finding(
        rule.id,
        severity,
        rule.subject.fill(names),
        rule.says.fill(names),
        rule.action.fill(names),
    )
