"""Every rule speaks where it must and is silent where it must be."""

from pathlib import Path

import pytest
from build import parts

from labctl.errors import UsageError
from labctl.facts.value import Known, Reason, Unknown
from labctl.health.finding import Severity
from labctl.health.judge import judge
from labctl.health.needs import needs
from labctl.health.rules_file import Rule, all_rules, parse_rules, shipped_rules, user_rules

RULES = {rule.id: rule for rule in shipped_rules()}


def test_ids_are_unique() -> None:
    assert len(RULES) == len(shipped_rules())


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_has_cases(rule: Rule) -> None:
    assert rule.fires
    assert rule.silent


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_speaks_among_all_rules(rule: Rule) -> None:
    """In the order of the files: an earlier rule of its group must not speak in its place."""
    verdict = judge(parts(rule.fires), shipped_rules())
    mine = [finding for finding in verdict.findings if finding.rule == rule.id]
    assert mine, f"it spoke not; others: {[finding.rule for finding in verdict.findings]}"
    assert all("{" not in finding.says + finding.action for finding in mine)
    assert all(finding.says and finding.action for finding in mine)
    assert not [gap for gap in verdict.not_judged if gap.reason == "wrong_rule"]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_is_silent(rule: Rule) -> None:
    verdict = judge(parts(rule.silent), [rule])
    assert not verdict.findings
    assert not verdict.not_judged


@pytest.mark.parametrize("reason", [Reason.LOST, Reason.TIMED_OUT, Reason.NO_PERMISSION])
def test_what_is_not_known_is_neither_fine_nor_found(reason: Reason) -> None:
    """All rules on a machine that answered nothing."""
    nothing = {name: Unknown(reason, "it died") for name in parts({})}
    verdict = judge(nothing, shipped_rules())
    assert not verdict.findings
    assert {gap.rule for gap in verdict.not_judged} == set(RULES)
    assert {gap.reason for gap in verdict.not_judged} == {str(reason)}


def test_nothing_to_see_is_no_gap() -> None:
    verdict = judge(parts({}), shipped_rules())
    assert not verdict.findings
    assert not verdict.not_judged
    assert verdict.judged == len(RULES)


def test_the_worst_comes_first() -> None:
    facts = parts({"packages": {"reboot": ["a"], "broken": ["b"]}, "load": {"memory_full": 0.5}})
    severities = [finding.severity for finding in judge(facts, shipped_rules()).findings]
    assert severities == [Severity.CRITICAL, Severity.WARNING, Severity.INFO]


def test_one_cause_of_a_broken_driver() -> None:
    """Nouveau has the card, so there is no module loaded, no nvidia-smi that works, no file."""
    facts = parts(
        {
            "driver": {
                "cards": ["0000:01:00.0"],
                "bound": ["nouveau"],
                "loaded": {"unknown": "absent"},
                "running": {"release": "6.1", "module": "535.1", "headers": True},
                "packages": ["nvidia-driver"],
                "device_files": [],
                "container": "none",
            },
            "gpu": {"tool": "nvidia-smi", "status": 9, "cards": {"unknown": "absent"}},
        }
    )
    found = judge(facts, shipped_rules()).findings
    assert [finding.rule for finding in found] == ["nouveau-has-the-card"]


def test_a_wrong_rule_says_so_and_hides_nothing() -> None:
    rules = parse_rules(
        "- {id: a, when: load.nonsense > 1, severity: info, says: a, action: a}\n"
        "- {id: b, when: load.load15 > 1, severity: info, says: b, action: b}\n"
        "- {id: c, when: load.load15 > 'x', severity: info, says: c, action: c}\n"
        "- {id: d, when: load.load15 > 1, severity: bad, says: d, action: d}\n",
        "mine.yaml",
    )
    verdict = judge(parts({"load": {"load15": 2.0}}), rules)
    assert [finding.rule for finding in verdict.findings] == ["b"]
    assert [(gap.rule, gap.reason) for gap in verdict.not_judged] == [
        ("a", "wrong_rule"),
        ("c", "wrong_rule"),
        ("d", "wrong_rule"),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "not YAML"),
        ("a: 1", "rules are a list"),
        ("- 7", "rule 1: a rule is a mapping"),
        ("- {id: x}", r"rule 1 \(x\): 'when' is missing"),
        ("- {id: x, when: 'a b', severity: info, says: s, action: a}", "not an expression"),
        (
            "- {id: x, when: 'f(x=1)', severity: info, says: s, action: a}",
            "only functions of rules",
        ),
        ("- {id: x, when: 'a.__class__', severity: info, says: s, action: a}", "begins with _"),
        ("- {id: x, when: '[i for i in a]', severity: info, says: s, action: a}", "ListComp"),
        ("- {id: x, when: 'a', severity: info, says: '{b|nope}', action: a}", "no form 'nope'"),
        ("- {id: x, when: 'a', severity: info, says: s, action: a, wen: b}", "no key 'wen'"),
    ],
)
def test_mistakes_in_a_file_are_named(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        parse_rules(text, "mine.yaml")
    assert "mine.yaml" in str(caught.value)


def test_a_rule_of_the_users_takes_the_place_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "labctl" / "rules"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text(
        "- {id: overloaded, when: load.load15 > 1, severity: critical, says: s, action: a}\n"
        "- {id: mine, when: len(users.names) > 0, severity: info, says: s, action: a}\n"
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    facts = parts({"load": {"load15": 2.0, "cpus": 64}, "users": {"names": ["ada"]}})
    found = {finding.rule: finding.severity for finding in judge(facts, all_rules()).findings}
    assert found == {"overloaded": Severity.CRITICAL, "mine": Severity.INFO}
    assert len(all_rules()) == len(RULES) + 1


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"bad\.yaml"):
        user_rules(tmp_path)


def test_known_value_reaches_the_sentence() -> None:
    rule = parse_rules(
        "- {id: x, when: load.load15 > 1, severity: info, says: 'l {load.load15}, m "
        "{memory.total|bytes}, s {memory.swap_total|bytes}', action: a}",
        "x",
    )
    facts = parts({"load": {"load15": 2.5}, "memory": {"total": 25_276_063_744}})
    assert judge(facts, rule).findings[0].says == "l 2.5, m 25 GB, s not known"
    assert isinstance(facts["load"], Known)


def test_the_page_names_every_rule() -> None:
    page = (Path(__file__).parents[3] / "docs" / "check.md").read_text()
    for name in RULES:
        assert f"`{name}`" in page, name


def test_the_examples_of_the_page_are_rules_that_hold(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "check.md").read_text()
    first, second = (part.partition("```")[0] for part in page.split("```yaml\n")[1:])
    (rule,) = parse_rules(first, "check.md")
    assert judge(parts(rule.fires), [rule]).findings
    assert not judge(parts(rule.silent), [rule]).findings
    (tmp_path / "ml.yaml").write_text(second)
    needed = needs(tmp_path / "ml.yaml")
    tools = {"glibc": "2.36", "ffmpeg": "5.1.6", "encoders": ["libx264", "h264_nvenc"],
             "decoders": ["hevc"]}  # fmt: skip
    assert judge(parts({"tools": {**tools, "glibc": "2.31"}}), needed).findings
    assert not judge(parts({"tools": tools}), needed).findings
