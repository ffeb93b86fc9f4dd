"""One JUnit file of a whole regression, which CI systems read.

Format: https://github.com/testmoapp/junitxml, the part that Jenkins and GitLab share.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

from labctl.fileio import write_atomic
from labctl.fpga.regression import Outcome
from labctl.fpga.results import Case, JobResult
from labctl.report.sanitize import clean


def write_junit(path: Path, outcome: Outcome, repro: Callable[[str], str]) -> None:
    """Write ``outcome`` to ``path``.

    Args:
        path: The file; its folder must exist.
        outcome: What came of the regression.
        repro: Returns the command that runs a job again, from its name.

    Raises:
        OSError: It cannot be written.
    """
    root = ET.Element("testsuites", name="labctl fpga")
    suites: dict[str, list[JobResult]] = {}
    for result in outcome.results:
        unit = result.job.unit
        name = f"{unit.core.name}:{unit.variant.name}" if unit.variant.name else unit.core.name
        suites.setdefault(name, []).append(result)
    for name, results in suites.items():
        _suite(root, name, results, repro)
    ET.indent(root)
    write_atomic(path, ET.tostring(root, encoding="utf-8", xml_declaration=True), mode=0o644)


def _suite(
    root: ET.Element, name: str, results: list[JobResult], repro: Callable[[str], str]
) -> None:
    suite = ET.SubElement(root, "testsuite", name=name)
    count = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for result in results:
        # One that did not come to tell of its tests is still a test.
        for case in _cases(result):
            count["tests"] += 1
            tag = {"failed": "failure", "error": "error", "hung": "error"}.get(case.status)
            element = ET.SubElement(
                suite,
                "testcase",
                classname=f"{name}.{result.job.unit.test.module}",
                name=f"{case.name.rpartition('.')[2]}@{result.job.seed}",
                time=f"{case.seconds:.3f}",
            )
            if case.status == "skipped":
                count["skipped"] += 1
                ET.SubElement(element, "skipped", message=_text(case.message))
            elif tag:
                count["failures" if tag == "failure" else "errors"] += 1
                child = ET.SubElement(element, tag, message=_text(case.message), type=case.status)
                child.text = _text(f"{repro(result.job.name)}\n\n{case.detail}")
            properties = ET.SubElement(element, "properties")
            ET.SubElement(properties, "property", name="seed", value=str(result.job.seed))
            ET.SubElement(properties, "property", name="sim_time_ns", value=f"{case.sim_ns:g}")
            if tag:
                repeat = repro(result.job.name)
                ET.SubElement(properties, "property", name="repro", value=_text(repeat))
    for key, value in count.items():
        suite.set(key, str(value))
    suite.set("time", f"{sum(one.seconds for one in results):.3f}")


def _cases(result: JobResult) -> tuple[Case, ...]:
    label = result.job.unit.test.label
    whole = Case(label, result.status, result.message, "", result.sim_ns, result.seconds)
    if result.status in ("hung", "error"):
        return (whole,)
    return result.cases or (whole,)


def _text(text: str) -> str:
    """Return ``text`` without what XML 1.0 cannot hold (section 2.2)."""
    kept = (one for one in clean(text) if one in "\t\n" or one.isprintable())
    return "".join(one for one in kept if one not in "\ufffe\uffff")
