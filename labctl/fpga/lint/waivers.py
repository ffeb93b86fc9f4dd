"""What linters may say, as core.yaml has it."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from labctl.fpga.lint.finding import Finding
from labctl.fpga.model import Core, Waiver

STALE = "waiver"


def waive(
    core: Core, findings: Sequence[Finding], asked: Collection[str]
) -> tuple[list[Finding], list[tuple[Finding, Waiver]]]:
    """Return what is left of ``findings``, and what was waived, by what.

    A waiver that waives nothing is a finding of its own: what it was for is gone, and it would hide
    the next one. That is said only if its linter was asked.

    Args:
        core: Whose findings and waivers they are.
        findings: What was found.
        asked: The linters that ran.
    """
    left: list[Finding] = []
    waived: list[tuple[Finding, Waiver]] = []
    for one in findings:
        by = next((waiver for waiver in core.waivers if _applies(waiver, one, core)), None)
        if by is None:
            left.append(one)
        else:
            waived.append((one, by))
    used = {waiver for _, waiver in waived}
    for waiver in core.waivers:
        needed = {waiver.tool} if waiver.tool else {"icarus", "verilator", "verible", "yosys"}
        if waiver not in used and needed <= set(asked):
            text = f"a waiver that waives nothing ({waiver.reason}); remove it"
            left.append(Finding("labctl", "warning", STALE, text, core.path, waiver.line))
    return left, waived


def _applies(waiver: Waiver, one: Finding, core: Core) -> bool:
    name = os.path.relpath(one.path, core.path.parent.absolute()) if one.path else ""
    pairs = (
        (waiver.tool, one.tool), (waiver.rule, one.rule), (waiver.file, name),
        (waiver.message, one.message),
    )  # fmt: skip
    return all(not wanted or fnmatchcase(said, wanted) for wanted, said in pairs)
